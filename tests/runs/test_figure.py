"""The figure of a run: it shows the records, and any run has one, however little happened in it.

The picture in the folder: test_runner.py.
"""

import json

import numpy as np
import pytest

from fedjax_diffusion.host.tables import format_cell
from fedjax_diffusion.runs.figure import draw_figure, make_figure
from fedjax_diffusion.runs.records import METRICS

pytestmark = pytest.mark.usefixtures("drawn_figures")


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


def test_a_run_without_rounds_is_refused_in_words(tmp_path):
    write_run(tmp_path, [])
    with pytest.raises(ValueError, match="has no round to draw yet"):
        draw_figure(tmp_path)


@pytest.mark.parametrize("name", RUNS)
def test_any_run_has_a_figure_whose_lines_and_bars_are_its_records(tmp_path, name):
    write_run(tmp_path, RUNS[name])
    figure = make_figure(tmp_path)
    figure.set_layout_engine("none")  # the layout, most of the time, does not read the records
    figure.draw_without_rendering()  # ticks, formats and limits fail here if at all
    loss, bits, error, joules, uplink, bars = figure.axes
    spent = np.cumsum([record["total_joules"] for record in RUNS[name]])
    np.testing.assert_allclose(joules.lines[0].get_ydata(), spent)
    sent = np.cumsum([record["uplink_bytes"] for record in RUNS[name]]) / 1e6
    np.testing.assert_allclose(uplink.lines[0].get_ydata(), sent)
    losses = [np.nan if r["loss"] is None else r["loss"] for r in RUNS[name]]
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), losses)
    assert len(joules.lines) == 1 + len(RUNS[name][0]["baseline_joules"])
    assert bars.texts[0].get_text() == format_cell(float(spent[-1]))
    assert (len(error.lines) > 0) == (name not in ("nobody ever", "32 bits, no budget"))
    assert bits.get_ylabel() == "bits per parameter"


def test_a_bar_at_full_frequency_does_not_hide_the_others(tmp_path):
    large = {"fixed_bits:8:max_frequency": 400.0, "full_precision": 4.0}
    parts = dict.fromkeys(("baseline_joules", "baseline_compute_joules"), large)
    write_run(tmp_path, [make_record(i, **parts) for i in range(2)])
    bars = make_figure(tmp_path).axes[-1]
    assert bars.get_xlim()[1] < 20
    assert [text.get_text().endswith("(bar cut)") for text in bars.texts] == [False, True, False]
