"""The table of docs/ablation.md is that of the committed points."""

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ablation.md").read_text()
NUM_SEEDS = 8
METHODS = {1: "fixed_bits:1", 2: "fixed_bits:2", 3: "fixed_bits:3", 4: "fixed_bits:4"}
METHODS |= {8: "fixed_bits:8", 32: "full_precision"}


@pytest.fixture(scope="module")
def points():
    """The rows of the index that were evaluated, by method and seed."""
    with tarfile.open(ROOT / "benchmarks/ablation_bits.tar.xz") as archive:
        text = archive.extractfile("./index.csv").read().decode()
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["status"] == "evaluated"]
    assert {row["federated.mode"] for row in rows} == {"update"}
    return {(row["allocator.method"], int(row["seed"])): row for row in rows}


def column(points, method, name):
    return np.array([float(points[method, seed][name]) for seed in range(NUM_SEEDS)])


def half_width(values):
    """Half of the 95 % interval of Student's t."""
    return stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("bits", METHODS)
def test_a_row_is_that_of_its_runs(points, bits):
    assert len(points) == NUM_SEEDS * len(METHODS)
    method = METHODS[bits]
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {bits}"))
    cells = [cell.strip(" *") for cell in row.strip("|").split("|")]
    megabytes, joules = float(cells[1].replace(",", "")), float(cells[2])
    assert megabytes == pytest.approx(column(points, method, "uplink_bytes").mean() / 1e6, rel=2e-3)
    assert joules == pytest.approx(column(points, method, "total_joules").mean(), rel=5e-3)
    quality = column(points, method, "quality")
    assert cells[3] == f"{quality.mean():.2f} +- {half_width(quality):.2f}"
    difference = quality - column(points, METHODS[32], "quality")
    expected = "" if bits == 32 else f"{difference.mean():+.2f} +- {half_width(difference):.2f}"
    assert cells[4] == expected


def test_the_percentages_of_the_text(points):
    joules = {bits: column(points, METHODS[bits], "total_joules").sum() for bits in (2, 32)}
    assert f"{100 * (1 - joules[2] / joules[32]):.0f} % fewer joules" in PAGE
    quality = {bits: column(points, METHODS[bits], "quality").mean() for bits in (1, 32)}
    assert f"{100 * (quality[1] / quality[32] - 1):.0f} % more mean distance" in PAGE
    late = [row for row in points.values() if row["left_out"] != "0"]
    assert [row["allocator.method"] for row in late] == ["full_precision"]
    assert sum(int(row["client_rounds"]) for row in points.values()) == 46_080
