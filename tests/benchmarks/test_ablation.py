"""The tables of docs/ablation.md are those of the committed points."""

import csv
import io
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ablation.md").read_text()
TEXT = " ".join(PAGE.split())
BITS, QUANTIZERS, CIFAR10 = "ablation_bits", "ablation_quantizers", "ablation_cifar10"
METHODS = {bits: f"fixed_bits:{bits}" for bits in (1, 2, 3, 4, 8)} | {32: "full_precision"}
NUMBER = re.compile(r"[+-]?[0-9]+\.?[0-9]*")
MODE, QUANTIZER = "federated.mode", "quantization.name"


@pytest.fixture(scope="module")
def sweeps():
    """The rows of each sweep's index, all of them evaluated."""
    found = {}
    with tarfile.open(ROOT / "benchmarks/ablations.tar.xz") as archive:
        for member in archive:
            folder, _, file = member.name.partition("/")
            if file == "index.csv":
                text = archive.extractfile(member).read().decode()
                found[folder] = list(csv.DictReader(io.StringIO(text)))
    assert {name: len(rows) for name, rows in found.items()} == {
        BITS: 66,
        QUANTIZERS: 64,
        CIFAR10: 8,
    }
    for rows in found.values():
        assert {row["status"] for row in rows} == {"evaluated"}
        assert len({row["extractor_fingerprint"] for row in rows}) == 1
    return found


def column(rows, name, **wanted):
    """The values of a column in the rows with these settings, by seed."""
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    found.sort(key=lambda row: int(row["seed"]))
    assert [int(row["seed"]) for row in found] == list(range(len(found)))
    return np.array([float(row[name]) for row in found])


def read_table(heading, *, num_names=1):
    """The cells of a section's table: names, then the numbers of each cell."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    assert len(rows) > 3
    for cells in rows[1:]:
        names = [cell.strip() for cell in cells[:num_names]]
        yield names, [NUMBER.findall(cell.replace(",", "")) for cell in cells[num_names:]]


def interval(values):
    """Mean and half of the 95 % interval of Student's t."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean(), half


def check_numbers(cell, values):
    """Compares printed numbers with the values that they were rounded from."""
    for text, value in zip(cell, values, strict=True):
        decimals = len(text.partition(".")[2])
        assert abs(float(text) - value) <= 0.5001 * 10.0**-decimals, (text, value)


@pytest.mark.parametrize("heading", ["Updates", "Models, as in the paper"])
def test_the_tables_of_bit_widths(sweeps, heading):
    rows, num_seeds = sweeps[BITS], 8 if heading == "Updates" else 3
    reference = column(rows, "quality", **{MODE: "update", "allocator.method": METHODS[32]})
    listed = []
    for (name,), (megabytes, joules, quality, difference) in read_table(heading):
        bits = int(name.split(",")[0])
        listed.append(bits)
        wanted = {MODE: "update" if heading == "Updates" else "model"}
        wanted["allocator.method"] = METHODS[bits]
        values = column(rows, "quality", **wanted)
        assert len(values) == num_seeds
        check_numbers(quality, interval(values))
        if wanted[MODE] == "update" and bits == 32:
            assert difference == []
        else:
            check_numbers(difference, interval(values - reference[:num_seeds]))
        check_numbers(megabytes, [column(rows, "uplink_bytes", **wanted).mean() / 1e6])
        check_numbers(joules, [column(rows, "total_joules", **wanted).mean()])
    assert listed == list(METHODS)


def test_the_table_of_quantizers(sweeps):
    rows, listed = sweeps[QUANTIZERS], set()
    reference = column(rows, "quality", **{"allocator.method": METHODS[32]})
    for (quantizer, bits), (joules, quality, difference) in read_table("Quantizers", num_names=2):
        wanted = {QUANTIZER: quantizer, "allocator.method": METHODS[int(bits)]}
        listed.add((quantizer, METHODS[int(bits)]))
        values = column(rows, "quality", **wanted)
        assert len(values) == 8
        check_numbers(quality, interval(values))
        check_numbers(difference, interval(values - reference))
        check_numbers(joules, [column(rows, "total_joules", **wanted).mean()])
    played = {(row[QUANTIZER], row["allocator.method"]) for row in rows}
    assert listed == played - {("stochastic", METHODS[32])}


def test_decided_differences_are_bold(sweeps):
    # Holm: the p-values in order, each at the error rate over those that are left.
    reference = column(sweeps[QUANTIZERS], "quality", **{"allocator.method": METHODS[32]})
    settings = {(row[QUANTIZER], row["allocator.method"]) for row in sweeps[QUANTIZERS]}
    settings -= {("stochastic", METHODS[32])}
    p_values = {}
    for quantizer, method in settings:
        wanted = {QUANTIZER: quantizer, "allocator.method": method}
        values = column(sweeps[QUANTIZERS], "quality", **wanted)
        p_values[quantizer, method] = stats.ttest_1samp(values - reference, 0).pvalue
    decided = set()
    for left, setting in enumerate(sorted(p_values, key=p_values.get)):
        if p_values[setting] * (len(settings) - left) >= 0.05:
            break
        decided.add(setting)
    section = PAGE.split("\n## Quantizers\n")[1]
    bold = {
        (cells[1].strip(), METHODS[int(cells[2])])
        for line in section.splitlines()
        if line.startswith("| ") and "**" in line and (cells := line.split("|"))
    }
    assert bold == decided


def test_the_table_of_cifar10(sweeps):
    listed = []
    heading = "CIFAR-10, a first look"
    for (name,), (megabytes, joules, loss, quality) in read_table(heading):
        bits = int(name.split(",")[0])
        listed.append(bits)
        wanted = {"allocator.method": METHODS[bits]}
        for cell, key, unit in ((megabytes, "uplink_bytes", 1e-6), (joules, "total_joules", 1)):
            check_numbers(cell, [unit * column(sweeps[CIFAR10], key, **wanted).mean()])
        check_numbers(loss, [column(sweeps[CIFAR10], "loss", **wanted).mean()])
        check_numbers(quality, column(sweeps[CIFAR10], "quality", **wanted))
    assert listed == [1, 2, 8, 32]


def test_the_percentages_of_the_text(sweeps):
    def read(name, bits):
        return column(sweeps[BITS], name, **{MODE: "update", "allocator.method": METHODS[bits]})

    joules = {bits: read("total_joules", bits).sum() for bits in (2, 32)}
    assert f"{100 * (1 - joules[2] / joules[32]):.0f} % fewer joules" in TEXT
    quality = {bits: read("quality", bits).mean() for bits in (1, 32)}
    assert f"{100 * (quality[1] / quality[32] - 1):.0f} % more mean distance" in TEXT
    late = [row for row in sweeps[BITS] if row["left_out"] != "0"]
    assert [row["allocator.method"] for row in late] == ["full_precision"]
    assert f"{sum(int(row['client_rounds']) for row in sweeps[BITS]):,}" in TEXT
    floors = {row["quality_floor"] for row in sweeps[BITS]}
    assert len(floors) == 1
    assert f"that of held-out real images is {float(floors.pop()):.2f}" in TEXT
