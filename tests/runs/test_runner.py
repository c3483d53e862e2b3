"""Whole runs: the folder they leave, resuming, and what they refuse."""

import json
import re
import shutil
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import SessionLog

from fedjax_diffusion import load_run, run
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.runs import figure
from fedjax_diffusion.runs import sample as sampling
from fedjax_diffusion.runs.evaluate import read_pngs
from fedjax_diffusion.runs.records import EVENTS, read_metrics
from fedjax_diffusion.runs.sample import sample
from tests.empty_figures import make_empty
from tests.runs.events import list_points, read_events
from tests.tiny import pixel_config, tiny_config

CONTRACT = {
    "round",
    "loss",
    "num_bits",
    "participants",
    "status",
    "compute_joules",
    "transmit_joules",
    "total_joules",
    "baseline_joules",
    "baseline_late",
    "uplink_bytes",
    "full_precision_bytes",
    "quantization_error",
    "quantization_error_bound",
    "error_budget",
    "predicted_error",
    "relative_gap",
    "wall_seconds",
}


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def finished(drawn_figures, tmp_path_factory):
    del drawn_figures
    return run(pixel_config(), tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """Other than ``finished``, it writes events for TensorBoard, too."""
    return resume(pixel_config(tensorboard=True), tmp_path_factory.mktemp("runs") / "resumed")


def resume(config, workdir):
    """Plays a run that is killed after its third round (checkpoint at two) and started again."""

    def stop_after_three(record):
        if record["round"] == 2:
            raise StopError

    with pytest.raises(StopError):
        run(config, workdir, on_record=stop_after_three)
    assert len(read_metrics(workdir)) == 3
    started_at = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure, "make_figure", make_empty)
        result = run(config, workdir, on_start=lambda _, first: started_at.append(first))
    assert started_at == [2]
    return result


def without_time(records):
    return [{k: v for k, v in record.items() if k != "wall_seconds"} for record in records]


def test_the_run_folder_is_complete(finished):
    names = {path.name for path in finished.workdir.iterdir()}
    assert names >= {"config.json", "environment.json", "metrics.jsonl", "summary.json"}
    assert (finished.workdir / "samples" / "round_00004.png").stat().st_size > 100
    figure = Image.open(finished.workdir / "figures" / "training.png").convert("RGB")
    assert min(figure.size) > 500
    assert len(figure.getcolors(figure.width * figure.height)) > 10, "not blank"
    environment = json.loads((finished.workdir / "environment.json").read_text())
    assert environment["compute"]["client_map"] == "map"
    assert environment["jax"] == jax.__version__


def test_every_line_of_the_metrics_keeps_the_contract(finished):
    records = read_metrics(finished.workdir)
    assert [record["round"] for record in records] == [0, 1, 2, 3]
    for record in records:
        assert set(record) >= CONTRACT
        assert record["quantization_error"] <= record["quantization_error_bound"]
        assert record["uplink_bytes"] < record["full_precision_bytes"]
    assert records[0]["predicted_error"] is None  # in the first round no range is known
    for record in records[1:]:
        assert record["predicted_error"] <= record["error_budget"] * (1 + 1e-9)


def test_a_resumed_run_equals_the_uninterrupted_one(finished, resumed):
    assert_same(finished, resumed)


@pytest.mark.slow
def test_a_resumed_run_of_a_unet_equals_the_uninterrupted_one(tmp_path):
    config = tiny_config(model__num_classes=10, model__dropout=0.1)
    assert_same(run(config, tmp_path / "whole"), resume(config, tmp_path / "resumed"))


def assert_same(finished, resumed):
    """Checks records, states and pictures bit by bit."""
    assert without_time(resumed.records) == without_time(finished.records)
    _, state_a = load_run(finished.workdir)
    _, state_b = load_run(resumed.workdir)
    jax.tree.map(np.testing.assert_array_equal, state_a, state_b)
    pictures = [r.workdir / "samples" / "round_00004.png" for r in (finished, resumed)]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_events_hold_the_numbers_of_the_rounds_also_after_an_interruption(resumed):
    paths = (resumed.workdir / EVENTS).iterdir()
    before, after = map(read_events, sorted(paths, key=lambda path: path.stat().st_mtime_ns))
    assert [*list_points(before, "loss")] == [1, 2, 3]
    starts = [event.step for event in after if event.session_log.status == SessionLog.START]
    assert starts == [3], "TensorBoard forgets the round that is played again"
    for name in ("loss", "total_joules", "uplink_bytes"):
        points = list_points(before, name) | list_points(after, name)
        expected = [record[name] for record in resumed.records]
        np.testing.assert_allclose([points[n] for n in (1, 2, 3, 4)], expected, rtol=1e-6)


def test_missing_package_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(
        ValueError, match=r"pip install -e '.\[tensorboard\]' in the project's folder"
    ):
        run(pixel_config(tensorboard=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_a_no_op(finished):
    before = {p: p.stat().st_mtime_ns for p in finished.workdir.rglob("*")}
    again = run(pixel_config(), finished.workdir)
    assert not again.is_new
    assert again.records == finished.records
    assert again.summary == finished.summary
    assert {p: p.stat().st_mtime_ns for p in finished.workdir.rglob("*")} == before


def test_a_folder_of_another_config_is_left_alone(finished):
    before = (finished.workdir / "config.json").read_bytes()
    with pytest.raises(ValueError, match=r"another config \(seed: 0 there, 1 here\)"):
        run(pixel_config(seed=1), finished.workdir)
    assert (finished.workdir / "config.json").read_bytes() == before


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="not empty"):
        run(pixel_config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


BAD_SETTINGS = [
    ({"partition__num_clients": 2000}, "num_clients must be at most the 1497 examples"),
    ({"partition__alpha": 0.0}, "config.partition.alpha must be a number in"),
    ({"allocator__time_budget_seconds": 1e-3}, "no client can participate in any round"),
    ({"devices__min_bits": 17}, "config.devices.min_bits must be 1..16 or 32 or None, got 17"),
    ({"devices__min_bits": 9, "devices__max_bits": 4}, "no client can participate|min_bits"),
    ({"allocator__method": "magic"}, "method = 'magic'"),
    ({"allocator__method": "relaxed"}, "relaxed"),
    ({"cohort_size": 4}, "cohort_size must be in 1..3"),
    ({"num_rounds": 0}, "num_rounds must be a whole number in 1"),
    ({"seed": -1}, "seed must be a whole number in 0"),
    ({"sampling__sampler": "euler"}, "sampling.sampler must be one of"),
    ({"federated__mode": "weights"}, "mode must be one of"),
    ({"local_work__local_epochs": 1.0}, "exactly one of local_steps"),
    ({"compute__cpu_devices": "many"}, "compute.cpu_devices must be"),
    ({"allocator__error_budget__relative": 0.1}, "error_budget: give one of"),
    ({"checkpoint__keep": 0}, "checkpoint.keep must be a whole number in 1"),
    ({"evaluation__inception_weights": "nowhere.npz"}, "inception_weights nowhere.npz"),
    ({"evaluation__held_out_split": "dev"}, "evaluation.held_out_split: .*'dev'"),
    ({"quantization__error_feedback": True, "federated__mode": "model"}, "mode 'update'"),
]


def test_bad_settings_are_refused_before_anything_is_written(tmp_path):
    others = {}
    for number, (overrides, message) in enumerate(BAD_SETTINGS):
        said = "no error"
        try:
            run(pixel_config(**overrides), tmp_path / str(number))
        except ValueError as error:
            said = str(error)
        if not re.search(message, said):
            others[message] = said
    assert others == {}
    assert list(tmp_path.iterdir()) == []


def test_a_run_does_not_go_on_with_other_data(finished, tmp_path):
    workdir = shutil.copytree(finished.workdir, tmp_path / "copy")
    (workdir / "summary.json").unlink()
    path = workdir / "environment.json"
    environment = json.loads(path.read_text())
    assert environment["data"]["num_examples"] == 1497
    environment["data"]["images_sha256"] = "0" * 64
    path.write_text(json.dumps(environment))
    for go_on in (lambda: run(pixel_config(), workdir), lambda: load_run(workdir)):
        with pytest.raises(ValueError, match=r"trained on other data \(images_sha256: 000"):
            go_on()
    del environment["data"]  # of an earlier version
    path.write_text(json.dumps(environment))
    assert not load_run(workdir)[1].round < 4


def test_samples_are_drawn_as_the_run_does_or_as_asked(finished, tmp_path, monkeypatch):
    asked = []
    load = sampling.load_sampler
    monkeypatch.setattr(sampling, "load_sampler", lambda *a: asked.append(a[1]) or load(*a))
    sample(finished.workdir, num_samples=4, output=tmp_path / "run.png")
    sample(finished.workdir, num_samples=4, sampler="ancestral", output=tmp_path / "all.png")
    assert asked[0] == {"num_samples": 4}
    assert asked[1] == {"num_samples": 4, "num_steps": None, "eta": 0.0, "sampler": "ancestral"}


def test_images_are_saved_one_by_one_into_a_folder(finished, tmp_path):
    folder = sample(finished.workdir, num_samples=33, num_steps=2, output=tmp_path / "images")
    images = read_pngs(folder, (8, 8, 1))
    assert len(images) == 33
    experiment, state = load_run(finished.workdir, {"num_samples": 33})
    drawn = experiment.draw_samples(seed_to_key(0), state.ema_params, 4)
    np.testing.assert_array_equal(images, drawn)
    with pytest.raises(ValueError, match=r"must be a \.png file, or a new or empty folder"):
        sample(finished.workdir, num_samples=33, output=folder)
    with pytest.raises(ValueError, match=r"grid\.JPG must end in \.png, or be a folder"):
        sample(finished.workdir, output=tmp_path / "grid.JPG")


def test_samples_are_drawn_from_a_finished_run(finished, tmp_path):
    path = sample(finished.workdir, num_samples=33, num_steps=2, output=tmp_path / "a.png")
    other = sample(finished.workdir, num_samples=33, num_steps=2, seed=1, output=tmp_path / "b.png")
    assert path.read_bytes() != other.read_bytes()
    with pytest.raises(ValueError, match="not a run folder"):
        sample(tmp_path)
