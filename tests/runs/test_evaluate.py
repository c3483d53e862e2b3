"""The quality of a run and of a folder: measured once, named for its extractor, clear errors."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion.cli.main import main
from fedjax_diffusion.data import load_images
from fedjax_diffusion.evaluation import Extractor
from fedjax_diffusion.evaluation.quality import (
    EvaluationConfig,
    make_extractor,
    measure_quality,
    spread,
)
from fedjax_diffusion.runs import evaluate as module
from fedjax_diffusion.runs.evaluate import evaluate, evaluate_folder, read_pngs
from fedjax_diffusion.runs.runner import run
from tests.tiny import pixel_config


def pixels_as_features(name="classifier"):
    """Four means of a 8x8 image's quarters."""

    def forward(images):
        quarters = np.asarray(images, np.float32).reshape(len(images), 2, 4, 2, 4, -1)
        return quarters.mean(axis=(2, 4, 5)).reshape(len(images), 4)

    return Extractor(name, "abc", 4, forward, batch_size=16)


@pytest.fixture
def plain_features(monkeypatch):
    monkeypatch.setattr(module, "make_extractor", lambda *_: pixels_as_features())


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    config = pixel_config(num_rounds=1, evaluation__num_samples=32)
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
    assert drawn[-1] == 32
    assert (first["num_samples"], first["sampler"], first["round"]) == (32, "ddim", 1)
    kept = json.loads((workdir / "evaluation.json").read_text())
    assert kept["quality"] == first
    other = evaluate(workdir, {"num_samples": 40})
    assert other["num_samples"] == 40
    assert evaluate(workdir) == first  # drawn again: the same images
    monkeypatch.setattr(module, "measure_quality", lambda *_: pytest.fail("measured again"))
    assert evaluate(workdir) == first


CHANGES = {
    "version": lambda patch: patch.setattr(module, "MEASURE_VERSION", -1),
    "features": lambda patch: patch.setattr(
        module,
        "make_extractor",
        lambda *_: dataclasses.replace(pixels_as_features(), fingerprint="another"),
    ),
    "data": lambda patch: patch.setattr(module, "identify", lambda _: {"name": "another"}),
    "sampling": lambda patch: patch.setattr(
        module, "_describe_sampling", lambda config: {"eta": 0.5, "sampler": "ddim"}
    ),
    "round": lambda patch: change_state(patch, round=np.int32(7)),
}
"""Of what is noted beside a quality; each is made in addition to those before."""


def test_what_is_measured_otherwise_is_measured_again(workdir, plain_features, monkeypatch):
    evaluate(workdir)
    measured = []
    measure = module.measure_quality
    monkeypatch.setattr(
        module, "measure_quality", lambda *a: measured.append(r := measure(*a)) or r
    )
    evaluate(workdir)
    assert not measured
    for number, (name, change) in enumerate(CHANGES.items(), 1):
        change(monkeypatch)
        evaluate(workdir)
        assert len(measured) == number, name


def change_state(patch, **fields):
    load = module.load_run

    def load_changed(*arguments):
        experiment, state = load(*arguments)
        return experiment, dataclasses.replace(state, **fields)

    patch.setattr(module, "load_run", load_changed)


def test_runs_of_one_seed_are_drawn_from_the_same_noise_after_any_number_of_rounds(
    workdir, plain_features, monkeypatch
):
    first = evaluate(workdir, {"num_samples": 40})
    change_state(monkeypatch, round=np.int32(9))
    again = evaluate(workdir, {"num_samples": 40})
    assert again.pop("round") == 9
    assert first.pop("round") == 1
    assert again == first


def test_a_model_with_classes_draws_as_many_of_each_as_there_are(
    workdir, plain_features, tmp_path, monkeypatch
):
    ignore = shutil.ignore_patterns("evaluation.json")
    folder, asked = shutil.copytree(workdir, tmp_path / "classes", ignore=ignore), []
    experiment, state = module.load_run(folder)
    dataset, model = experiment.dataset, experiment.config.model
    labels = np.where(dataset.labels < 6, 0, dataset.labels)  # most of one class, none of five
    experiment = experiment._replace(
        config=dataclasses.replace(
            experiment.config, model=dataclasses.replace(model, num_classes=10)
        ),
        dataset=dataclasses.replace(dataset, labels=labels),
        draw_samples=lambda *a: asked.append(a[-1]) or dataset.images[:30],
    )
    monkeypatch.setattr(module, "load_run", lambda *_: (experiment, state))
    evaluate(folder, {"num_samples": 30})
    shares = np.bincount(labels, minlength=10) * 30 / len(labels)
    np.testing.assert_allclose(np.bincount(asked[0], minlength=10), shares, atol=1)


def test_images_that_are_of_the_class_asked_for_are_counted():
    train = load_images("digits", "train")
    extractor = dataclasses.replace(
        pixels_as_features(), predict_labels=lambda features: np.arange(len(features)) % 2
    )
    labels = np.zeros(30, int)
    quality = measure_quality(train.images[:30], train, None, extractor, labels)
    assert quality["label_agreement"] == 0.5
    assert "label_agreement" not in measure_quality(train.images[:30], train, None, extractor)


def test_precision_and_recall_are_of_as_many_images_on_both_sides():
    real, drawn = load_images("digits", "test"), load_images("digits", "train").images
    twice = np.repeat(real.images, 2, axis=0)
    quality = measure_quality(twice, real, None, pixels_as_features())
    assert quality["num_precision_recall"] == len(real.images)
    assert (quality["precision"], quality["recall"]) == (1, 1)  # every other one: the real images
    few = measure_quality(drawn[:100], real, None, pixels_as_features())
    assert few["num_precision_recall"] == 100


def test_items_are_taken_evenly():
    assert spread(np.arange(10), 5).tolist() == [1, 3, 5, 7, 9]
    assert spread(np.arange(3), 7).tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert spread(np.arange(4), 4).tolist() == [0, 1, 2, 3]


def test_the_command_prints_what_it_measured(workdir, plain_features, tmp_path, capsys, caplog):
    answer = tmp_path / "answer.json"
    assert main(["evaluate", f"--workdir={workdir}", f"--output={answer}"]) == 0
    out, err = capsys.readouterr()
    assert "fcd " in out
    assert (err, caplog.text) == ("", "")
    assert json.loads(answer.read_text()) == evaluate(workdir)
    (workdir / "evaluation.json").write_text('{"asked": ')
    assert json.loads(answer.read_text()) == evaluate(workdir), "a damaged file is made again"
    alone = ["evaluate", f"--workdir={workdir}", "--held_out_split=none"]
    assert main(alone) == 0
    assert "fcd_floor" not in capsys.readouterr().out
    assert main(["evaluate", f"--workdir={workdir}", "--config=digits"]) == 2
    assert main(["evaluate", f"--images={tmp_path}", "--num_samples=30"]) == 2
    absent = tmp_path / "absent" / "answer.json"
    assert main(["evaluate", f"--workdir={workdir}", f"--output={absent}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert main(["evaluate", f"--workdir={workdir}", "--config.seed=1"]) == 2
    assert main(["evaluate"]) == 2
    assert main(["evaluate", f"--workdir={workdir}", "--num_samples=2"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert (
        "config.evaluation.num_samples must be a whole number in 20..1000000, got 2" in errors[-1]
    )


def test_pngs_are_compared_as_images_are(tmp_path, plain_features):
    test = load_images("digits", "test")
    for i, image in enumerate(test.images[:25]):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i:03d}.png")
    np.testing.assert_array_equal(read_pngs(tmp_path, (8, 8, 1)), test.images[:25])
    config = pixel_config()
    quality = evaluate_folder(tmp_path, config)
    train = load_images("digits", "train")
    assert quality == measure_quality(test.images[:25], train, test, pixels_as_features())


def test_a_folder_that_does_not_fit_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent is not a folder"):
        read_pngs(tmp_path / "absent", (8, 8, 1))
    with pytest.raises(ValueError, match=r"must hold 20 or more \.png files, it has 0"):
        read_pngs(tmp_path, (8, 8, 1))
    for i in range(20):
        Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match=r"0\.png .* it must be 8x8 .* it is 9x8"):
        read_pngs(tmp_path, (8, 8, 1))
    (tmp_path / "0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"0\.png is not an image that can be taken"):
        read_pngs(tmp_path, (8, 8, 1))


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.full((8, 8), 40_000, np.uint16)),
        Image.fromarray(np.zeros((8, 8, 4), np.uint8)),
        Image.fromarray(np.zeros((8, 8, 2), np.uint8), "LA"),
    ],
    ids=["16 bits", "transparent", "transparent gray"],
)
def test_pixels_that_would_be_changed_are_refused(image, tmp_path):
    for i in range(20):
        image.save(tmp_path / f"{i}.PNG")
    with pytest.raises(
        ValueError, match=r"0\.PNG .* it must have (8 bits per channel|no transparent)"
    ):
        read_pngs(tmp_path, (8, 8, 1))


def test_opaque_pixels_are_taken(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    image[..., 3] = 255
    for i in range(20):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    np.testing.assert_array_equal(read_pngs(tmp_path, (8, 8, 3))[5], image[..., :3])


def test_missing_weights_are_one_line(tmp_path):
    dataset = load_images("digits", "test")
    with pytest.raises(ValueError, match=r"does not exist; the usual file is"):
        make_extractor(EvaluationConfig(20, str(tmp_path / "x.pth")), dataset)
