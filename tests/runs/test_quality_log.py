"""Quality along a run: measured when it is due, once, by the name of the number of images."""

import json

import pytest

from fedjax_diffusion.evaluation.quality import EvaluationConfig
from fedjax_diffusion.runs import evaluate as evaluate_module
from fedjax_diffusion.runs import quality_log
from fedjax_diffusion.runs.evaluate import evaluate
from fedjax_diffusion.runs.quality_log import QUALITY, QualityLog, read_quality
from fedjax_diffusion.runs.runner import run
from tests.runs.test_evaluate import pixels_as_features
from tests.tiny import pixel_config

CONFIG = pixel_config(
    num_rounds=5,
    evaluation__every_rounds=2,
    evaluation__num_samples_along=32,
    evaluation__num_samples=32,
    checkpoint__every_rounds=5,
)


@pytest.fixture(autouse=True)
def plain_features(monkeypatch):
    for module in (quality_log, evaluate_module):
        monkeypatch.setattr(module, "make_extractor", lambda *_: pixels_as_features())


class StopError(Exception):
    pass


def test_rounds_are_measured_once_also_if_they_are_played_again(tmp_path, monkeypatch):
    whole = run(CONFIG, tmp_path / "whole")
    lines = read_quality(whole.workdir)
    assert [line["round"] for line in lines] == [2, 4, 5]
    assert [line["num_samples"] for line in lines] == [32] * 3
    assert {"fcd_32", "kcd_32", "precision_32", "recall_32"} <= lines[0].keys()
    assert lines[0]["fcd_32"] != lines[1]["fcd_32"]
    final = evaluate(whole.workdir)  # as many images, from the same noise
    assert lines[-1]["fcd_32"] == pytest.approx(final["fcd"], rel=1e-5)

    measured, measure = [], QualityLog.measure

    def count(self, experiment, state, *rest):
        measured.append(int(state.round))
        measure(self, experiment, state, *rest)

    def stop_after_three(record):
        if record["round"] == 2:
            raise StopError

    monkeypatch.setattr(QualityLog, "measure", count)
    with pytest.raises(StopError):
        run(CONFIG, tmp_path / "again", on_record=stop_after_three)
    run(CONFIG, tmp_path / "again")  # from the first round, as there is no checkpoint
    assert measured == [2, 4, 5]
    assert (tmp_path / "again" / QUALITY).read_bytes() == (whole.workdir / QUALITY).read_bytes()

    monkeypatch.setattr(evaluate_module, "measure_quality", lambda *_: pytest.fail("again"))
    assert evaluate(whole.workdir, {"every_rounds": 1, "num_samples_along": 30}) == final


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / QUALITY).write_text(json.dumps({"round": 2}) + "\n{")
    with pytest.raises(ValueError, match=r"quality\.jsonl is damaged .*; restore it, or remove it"):
        read_quality(tmp_path)


@pytest.mark.parametrize("changes", [{"every_rounds": 0}, {"num_samples_along": 19}])
def test_too_small_numbers_are_refused(changes):
    (name,) = changes
    with pytest.raises(ValueError, match=rf"evaluation\.{name} must be a whole number in"):
        EvaluationConfig(20, **changes)
