"""Reports: texts hold their numbers, and any run has a figure, however little happened in it."""

import json

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion.runs.figure import draw_figure, format_paths, format_summary
from fedjax_diffusion.runs.records import METRICS, summarize

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


def make_record(round, baselines=("full_precision", "fixed_bits:8:max_frequency"), **changes):
    """A round of two clients, made up; ``changes`` in it."""
    each = dict.fromkeys(baselines, 4.0)
    record = {
        "round": round,
        "loss": 1.0 / (round + 1),
        "num_bits": [4, 0],
        "status": ["optimal", "infeasible_time"],
        "diverged": [],
        "compute_joules": 2.0,
        "transmit_joules": 1.0,
        "total_joules": 3.0,
        "baseline_joules": each,
        "baseline_compute_joules": dict.fromkeys(baselines, 3.0),
        "baseline_transmit_joules": dict.fromkeys(baselines, 1.0),
        "baseline_uplink_bytes": dict.fromkeys(baselines, 800),
        "baseline_late": dict.fromkeys(baselines, 0),
        "on_time_joules": {"this_run": 3.0} | each,
        "on_time_clients": 1,
        "uplink_bytes": 100,
        "downlink_bytes": 800,
        "full_precision_bytes": 800,
        "quantization_error": 1e-5,
        "quantization_error_bound": 2e-5,
        "error_budget": 3e-5,
        "wall_seconds": 0.5,
    }
    return record | changes


NOBODY = {
    "loss": None,
    "num_bits": [0, 0],
    "compute_joules": 0.0,
    "transmit_joules": 0.0,
    "total_joules": 0.0,
    "uplink_bytes": 0,
    "full_precision_bytes": 0,
    "quantization_error": 0.0,
    "quantization_error_bound": 0.0,
    "error_budget": 0.0,
}
UNQUANTIZED = {
    "num_bits": [32, 32],
    "quantization_error": 0.0,
    "quantization_error_bound": 0.0,
    "error_budget": None,
}
RUNS = {
    "a round without anybody": [make_record(0), make_record(1, **NOBODY), make_record(2)],
    "no baselines": [make_record(i, baselines=()) for i in range(3)],
    "nobody ever": [make_record(i, **NOBODY) for i in range(3)],
    "32 bits, no budget": [make_record(i, **UNQUANTIZED) for i in range(3)],
}


def write_run(workdir, records):
    lines = [json.dumps(record) + "\n" for record in records]
    (workdir / METRICS).write_text("".join(lines))


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


@pytest.mark.parametrize("name", RUNS)
def test_the_summary_of_any_run_can_be_told(name):
    text = format_summary(summarize(RUNS[name], num_parameters=100))
    assert f"after {len(RUNS[name])} rounds" in text
    assert ("loss -" in text) == (name == "nobody ever")


@pytest.mark.parametrize("name", RUNS)
def test_the_figure_of_any_run_can_be_drawn(tmp_path, name):
    write_run(tmp_path, RUNS[name])
    path = draw_figure(tmp_path)
    assert path == tmp_path / "figures" / "training.png"
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert min(pixels.shape[:2]) > 500
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10, "not blank"


def test_a_run_without_rounds_is_refused_in_words(tmp_path):
    write_run(tmp_path, [])
    with pytest.raises(ValueError, match="has no round to draw yet"):
        draw_figure(tmp_path)


def test_the_paths_name_the_last_picture(tmp_path):
    write_run(tmp_path, RUNS["no baselines"])
    text = format_paths(tmp_path)
    assert str(tmp_path / "samples" / "round_00003.png") in text
    assert str(tmp_path / "figures" / "training.png") in text
