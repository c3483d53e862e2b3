"""Own pictures from the command to the drawn images."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion import load_run, run
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.data.image_cache import VARIABLE
from fedjax_diffusion.keys import seed_to_key
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


def test_a_run_on_a_folder_is_trained_and_sampled_without_the_folder(photos, tmp_path):
    own = {"data__name": "folder", "data__data_dir": str(photos), "data__size": 6}
    result = run(pixel_config(num_rounds=1, **own), tmp_path / "run")
    assert len(result.records) == 1
    with_data, state = load_run(tmp_path / "run", {"num_samples": 4})
    expected = with_data.draw_samples(seed_to_key(0), state.ema_params, int(state.round))
    shutil.rmtree(photos)
    images = sample(tmp_path / "run", num_samples=4, output=tmp_path / "images")
    drawn = [np.asarray(Image.open(path)) for path in sorted(images.iterdir())]
    np.testing.assert_array_equal(drawn, expected)
    assert expected.shape == (4, 6, 6, 3)
    path = tmp_path / "run" / "environment.json"
    facts = json.loads(path.read_text())
    del facts["data"]["image_shape"]  # of an earlier version
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"data.data_dir must be a folder of pictures"):
        sample(tmp_path / "run", num_samples=4, output=tmp_path / "more")


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


def test_pictures_without_classes_are_evaluated_in_random_features(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "flat").mkdir()
    for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)):
        Image.fromarray(image).save(tmp_path / "flat" / f"{i}.png")
    own = ["--config.data.name=folder", f"--config.data.data_dir={tmp_path / 'flat'}"]
    assert main(["evaluate", f"--images={tmp_path / 'flat'}", *own]) == 0
    printed = capsys.readouterr().out
    assert "frechet_random_features_floor" in printed
    assert "fcd" not in printed
