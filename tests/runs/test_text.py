"""Texts of a run: they hold its numbers, however little happened in it."""

import pytest

from fedjax_diffusion.runs.records import summarize
from fedjax_diffusion.runs.text import format_paths, format_summary
from tests.runs.test_figure import RUNS, make_record, write_run

METHOD = {
    "method": "this_run",
    "compute_joules": 12.0,
    "transmit_joules": 3.5,
    "total_joules": 15.5,
    "uplink_bytes": 2_500_000,
    "late": 0,
    "saved_joules_percent": 0.0,
    "on_time_saved_joules_percent": None,
    "saved_bytes_percent": 75.04,
}
SUMMARY = {
    "num_rounds": 7,
    "num_parameters": 100,
    "loss": 0.123456,
    "mean_bits": 6.543,
    "client_rounds": 21,
    "left_out": {"infeasible_error": 1, "infeasible_time": 2},
    "diverged": 0,
    "wall_seconds": 61.7,
    "methods": [METHOD, METHOD | {"method": "full_precision", "total_joules": 31.0, "late": 3}],
}


def test_a_summary_as_text_holds_its_numbers():
    text = format_summary(SUMMARY)
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines["this_run"][1:6] == ["12", "3.5", "15.5", "2.5", "0"]
    assert lines["this_run"][6:] == ["-", "-", "-"]  # nothing is saved against itself
    assert lines["full_precision"][3:6] == ["31", "2.5", "3"]
    for words in (
        "loss 0.1235 after 7 rounds",
        "6.54 bits on average",
        "21 client-rounds",
        "left out: 1 infeasible_error, 2 infeasible_time",
        "62 s",
    ):
        assert words in text


def test_a_run_that_diverged_says_since_when():
    rounds = [make_record(0), *(make_record(r, loss=None, diverged=[0]) for r in (1, 2, 3))]
    text = format_summary(summarize(rounds, num_parameters=100))
    assert "no loss in the last 3 of 4 rounds" in text
    assert "left out: 3 diverged, 4 infeasible_time" in text
    last = text.splitlines()[-1]
    assert last == "every client diverged since round 1: the model has not changed since then"


def test_an_error_far_above_its_bound_is_said_in_one_line():
    def tell(*factors):
        errors = [
            {"quantization_error": f * 1e-3, "quantization_error_bound": 1e-3} for f in factors
        ]
        rounds = [make_record(r) | error for r, error in enumerate(errors)]
        summary = summarize(rounds, num_parameters=100)
        return [line for line in format_summary(summary).splitlines() if "its bound" in line]

    (line,) = tell(0.5, 4.5, 8.0, 3.9)
    assert line.startswith("warning: the measured quantization error")
    assert "was 8 times its bound in round 2, and more than 4 times in 2 rounds" in line
    assert tell(0.5, 3.9) == []


@pytest.mark.parametrize("name", RUNS)
def test_the_summary_of_any_run_can_be_told(name):
    text = format_summary(summarize(RUNS[name], num_parameters=100))
    num_rounds = len(RUNS[name])
    has_loss = RUNS[name][-1]["loss"] is not None
    assert (f" after {num_rounds} rounds, " in text) == has_loss
    assert (f" of {num_rounds} rounds, " in text) == ("no loss in the last" in text) != has_loss


def test_the_paths_name_the_last_picture(tmp_path):
    write_run(tmp_path, RUNS["no baselines"])
    text = format_paths(tmp_path)
    assert str(tmp_path / "samples" / "round_00003.png") in text
    assert str(tmp_path / "figures" / "training.png") in text
