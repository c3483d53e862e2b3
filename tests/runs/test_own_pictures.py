"""Own pictures, and those of CIFAR-10, from the command to the drawn images."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion import load_config, load_run, run
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.data.image_cache import VARIABLE
from fedjax_diffusion.diffusion import make_denoiser
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.runs.sample import sample
from tests.data.test_sources import REAL_CIFAR10, needs_cifar10
from tests.tiny import to_pixels

NUM_PICTURES = 60
"""Five sixths are for training, as many as are taken of CIFAR-10: the runs share their programs."""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    return write_photos(tmp_path, monkeypatch, 12)


def write_photos(tmp_path, monkeypatch, number):
    """Returns a folder of pictures of 9 x 7 pixels, of two classes."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (number, 9, 7, 3), np.uint8)
    for i, image in enumerate(pixels):
        folder = tmp_path / "photos" / f"class_{i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    return tmp_path / "photos"


def smoke_config(**data):
    """Returns the config for CIFAR-10 with one round of three clients, and other data."""
    overrides = {"num_rounds": 1, "sampling.num_samples": 4, "sampling.num_steps": 2}
    overrides |= {"partition.num_clients": 3, "partition.name": "iid", "cohort_size": None}
    overrides |= {"allocator.baselines": ()}
    return load_config("cifar10:smoke", overrides | {f"data.{key}": data[key] for key in data})


def test_a_run_on_a_folder_is_trained_and_sampled_without_the_folder(tmp_path, monkeypatch):
    photos = write_photos(tmp_path, monkeypatch, NUM_PICTURES)
    config = smoke_config(name="folder", data_dir=str(photos), split="train", size=32)
    result = run(to_pixels(config), tmp_path / "run")
    assert len(result.records) == 1
    with_data, state = load_run(tmp_path / "run", {"num_samples": 4})
    expected = with_data.draw_samples(seed_to_key(0), state.ema_params, int(state.round))
    shutil.rmtree(photos)
    images = sample(tmp_path / "run", num_samples=4, output=tmp_path / "images")
    drawn = [np.asarray(Image.open(path)) for path in sorted(images.iterdir())]
    np.testing.assert_array_equal(drawn, expected)
    assert expected.shape == (4, 32, 32, 3)
    path = tmp_path / "run" / "environment.json"
    facts = json.loads(path.read_text())
    del facts["data"]["image_shape"]  # of an earlier version
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"data.data_dir must be a folder of pictures"):
        sample(tmp_path / "run", num_samples=4, output=tmp_path / "more")


@needs_cifar10
def test_the_cifar10_config_trains_on_real_images(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "off")  # else all 24,000 images are decoded, for 50
    config = smoke_config(data_dir=str(REAL_CIFAR10), split=f"train[:{5 * NUM_PICTURES // 6}]")
    network = make_denoiser(to_run_config(config).model, (32, 32, 3))
    jax.eval_shape(network.init, jax.random.key(0))  # it can be made
    result = run(to_pixels(config), tmp_path / "run")  # its own takes long to compile
    assert result.records[0]["loss"] < 1.5
    assert len(result.records[0]["participants"]) == 3


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
