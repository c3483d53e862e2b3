"""The quality of a run and of a folder: measured once, named for its extractor, clear errors."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion import run_quality
from fedjax_diffusion.cli import main
from fedjax_diffusion.data import load_images
from fedjax_diffusion.evaluation import Extractor
from fedjax_diffusion.quality import EvaluationConfig, make_extractor, measure_quality
from fedjax_diffusion.run_quality import evaluate, evaluate_folder, read_pngs
from fedjax_diffusion.runner import run
from tests.tiny import tiny_config


def pixels_as_features(name="classifier"):
    """Four means of a 8x8 image's quarters."""

    def forward(images):
        quarters = np.asarray(images, np.float32).reshape(len(images), 2, 4, 2, 4, -1)
        return quarters.mean(axis=(2, 4, 5)).reshape(len(images), 4)

    return Extractor(name, "abc", 4, forward, batch_size=16)


@pytest.fixture
def plain_features(monkeypatch):
    monkeypatch.setattr(run_quality, "make_extractor", lambda *_: pixels_as_features())


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    config = tiny_config(num_rounds=1, evaluation__num_samples=24)
    return run(config, tmp_path_factory.mktemp("runs") / "tiny").workdir


def test_real_images_are_closer_than_noise_and_names_follow_the_extractor():
    train, test = load_images("digits", "train"), load_images("digits", "test")
    noise = np.random.default_rng(0).integers(0, 256, test.images.shape, np.uint8)
    real, far = (
        measure_quality(images, train, None, pixels_as_features())
        for images in (test.images, noise)
    )
    assert real["fcd"] < far["fcd"] / 10
    assert real["precision"] > 0.5 > far["precision"]
    assert "fcd_floor" not in real
    with_floor = measure_quality(noise, train, test, pixels_as_features("inception"))
    assert with_floor["fid_floor"] == pytest.approx(real["fcd"])
    assert (with_floor["num_samples"], with_floor["num_held_out"]) == (300, 300)
    assert "classifier_accuracy" not in with_floor
    always_seven = dataclasses.replace(
        pixels_as_features(), predict_labels=lambda features: np.full(len(features), 7)
    )
    named = measure_quality(noise, train, test, always_seven)
    assert named["fcd_floor"] == pytest.approx(real["fcd"])
    assert named["classifier_accuracy"] == (test.labels == 7).mean()


def test_a_run_is_evaluated_once(workdir, plain_features, monkeypatch):
    drawn = []
    first = evaluate(workdir, on_progress=drawn.append)
    assert drawn[-1] == 24
    assert (first["num_samples"], first["sampler"], first["round"]) == (24, "ddim", 1)
    kept = json.loads((workdir / "evaluation.json").read_text())
    assert kept["quality"] == first
    other = evaluate(workdir, {"num_samples": 30})
    assert other["num_samples"] == 30
    assert evaluate(workdir) == first  # drawn again: the same images
    monkeypatch.setattr(run_quality, "measure_quality", lambda *_: pytest.fail("measured again"))
    assert evaluate(workdir) == first


def test_the_command_prints_what_it_measured(workdir, plain_features, capsys):
    assert main(["evaluate", f"--workdir={workdir}"]) == 0
    assert "fcd " in capsys.readouterr().out
    assert main(["evaluate", f"--workdir={workdir}", "--config.seed=1"]) == 2
    assert main(["evaluate"]) == 2
    assert main(["evaluate", f"--workdir={workdir}", "--num_samples=2"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "must be at least 20, got 2" in errors[-1]


def test_pngs_are_compared_as_images_are(tmp_path, plain_features):
    test = load_images("digits", "test")
    for i, image in enumerate(test.images[:25]):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i:03d}.png")
    np.testing.assert_array_equal(read_pngs(tmp_path, (8, 8, 1)), test.images[:25])
    config = tiny_config()
    quality = evaluate_folder(tmp_path, config)
    train = load_images("digits", "train")
    assert quality == measure_quality(test.images[:25], train, test, pixels_as_features())


def test_a_folder_that_does_not_fit_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"must hold 20 or more \.png files, it has 0"):
        read_pngs(tmp_path, (8, 8, 1))
    for i in range(20):
        Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match=r"0\.png must be an image of 8x8 .* it is 9x8"):
        read_pngs(tmp_path, (8, 8, 1))
    (tmp_path / "0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"0\.png is not an image that can be read"):
        read_pngs(tmp_path, (8, 8, 1))


def test_missing_weights_and_labels_are_one_line(tmp_path):
    dataset = load_images("digits", "test")
    with pytest.raises(ValueError, match=r"does not exist; the usual file is"):
        make_extractor(EvaluationConfig(20, str(tmp_path / "x.pth")), dataset)
    unlabelled = dataclasses.replace(
        dataset, num_classes=1, labels=0 * dataset.labels, class_names=()
    )
    with pytest.raises(ValueError, match="no labels"):
        make_extractor(EvaluationConfig(20), unlabelled)
