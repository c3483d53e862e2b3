"""Own pictures from the command to the drawn images."""

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion import run
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.data.image_cache import VARIABLE
from fedjax_diffusion.runs.sample import sample
from tests.tiny import pixel_config


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 7, 3), np.uint8)
    for i, image in enumerate(pixels):
        folder = tmp_path / "photos" / f"class_{i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    return tmp_path / "photos"


def test_a_run_on_a_folder_is_trained_and_sampled(photos, tmp_path):
    own = {"data__name": "folder", "data__data_dir": str(photos), "data__size": 6}
    result = run(pixel_config(num_rounds=1, **own), tmp_path / "run")
    assert len(result.records) == 1
    images = sample(tmp_path / "run", num_samples=2, output=tmp_path / "images")
    with Image.open(min(images.iterdir())) as image:
        assert (image.size, image.mode) == ((6, 6), "RGB")


def test_the_data_command_describes_a_folder(photos, tmp_path, capsys):
    command = ["data", "--name=folder", f"--data_dir={photos}", "--size=6"]
    assert (
        main([*command, f"--output={tmp_path / 'report'}", "--config.partition.num_clients=2"]) == 0
    )
    printed = capsys.readouterr().out
    assert "6 x 6 x 3" in printed
    assert "class_1" in printed


def test_a_folder_beside_digits_is_refused(photos, tmp_path, capsys):
    arguments = [f"--config.data.data_dir={photos}", f"--workdir={tmp_path / 'run'}"]
    assert main(["run", *arguments]) == 2
    error = capsys.readouterr().err
    assert "data set 'digits' is built in" in error
    assert error.count("\n") == 1
