"""Question and verdict: sentences whose numbers are those of the tables."""

import dataclasses
import math
import shutil

import pytest

from benchmarks.synthetic_sweep import BITS, make_sweep
from fedjax_diffusion import load_config
from fedjax_diffusion.compare import list_plays
from fedjax_diffusion.host.tables import format_cell
from fedjax_diffusion.report.sources import read_source
from fedjax_diffusion.report.standings import tabulate_settings
from fedjax_diffusion.report.verdict import ask, judge
from fedjax_diffusion.runs import records
from fedjax_diffusion.sweep.folder import grow_sweep
from fedjax_diffusion.sweep.runner import play_sweep
from tests.report.folders import make_played_sweep
from tests.sweep.stubs import CONFIG, OLD, play_stub
from tests.sweep.stubs import make_sweep as make_stubs


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Eight methods with eight seeds, held against full precision."""
    workdir = tmp_path_factory.mktemp("verdict") / "sweep"
    make_sweep(workdir, num_points=64, num_rounds=2)
    return read_source(workdir)


def average(source, method, column):
    rows = [r for r in source.tables.index.to_pylist() if r["allocator.method"] == method]
    return sum(row[column] for row in rows) / len(rows)


def test_question_names_axes_and_leaves_them_out_of_what_is_common(source):
    asked, common = ask(source)
    assert asked == "64 points; varied: allocator.method (8 values), seed (8 values)."
    assert "8 clients" in common
    assert "deadline 10 s" in common, "the swept value, not that of the base"
    assert "on_demand" not in common


def test_least_and_largest_are_means_over_the_seeds(source):
    text = "\n".join(judge(source))
    joules = {method: average(source, method, "total_joules") for method in BITS}
    low, high = min(joules, key=joules.get), max(joules, key=joules.get)
    assert (
        f"Least energy: {low}, {format_cell(joules[low])} J a run (mean of 8 seeds); largest: "
        f"{high}, {format_cell(joules[high])} J a run." in text
    )
    best = average(source, "full_precision", "quality")
    assert f"full_precision, {format_cell(best)} (mean of 8 seeds)" in text
    assert "not decided: 5 are needed" not in text
    assert "Points: 64 evaluated." in text


def test_settings_are_held_against_the_reference(source):
    text = "\n".join(judge(source))
    others = ", ".join(method for method in BITS if method != "full_precision")
    way = "paired by seed, adjusted by Holm for the number of settings"
    assert f"Energy against full_precision, {way}. Less: {others}." in text
    rows = {row["setting"]: row for row in tabulate_settings(source.tables)}
    assert next(iter(rows)) == "full_precision (reference)"
    row = rows["fixed_bits:8"]
    assert row["seeds"] == 8
    assert math.isclose(row["J a run"], average(source, "fixed_bits:8", "total_joules"))
    assert row["95 % from"] < row["fcd, 5000 images"] < row["95 % to"]
    assert row["J against reference: interval and verdict"].endswith("(8 seeds): less")
    assert rows["full_precision (reference)"]["J against reference, %"] is None


def test_few_seeds_decide_nothing(tmp_path):
    make_played_sweep(tmp_path, num_seeds=2)
    source = read_source(tmp_path)
    assert any(text.startswith("With 2 seeds of a setting") for text in judge(source))
    assert all(row["95 % from"] is None for row in tabulate_settings(source.tables))


def test_nothing_finished_is_said(tmp_path):
    make_stubs(tmp_path)
    assert judge(read_source(tmp_path)) == [
        "No point of this folder is finished yet.",
        "Points: 3 planned.",
    ]


def test_each_variant_of_a_comparison_has_its_verdict(tmp_path):
    config = load_config("digits", {"compare.num_seeds": 2})
    grow_sweep(config, [play.point for play in list_plays(config)], tmp_path)
    assert judge(read_source(tmp_path))[0].startswith("No verdict yet")
    play_sweep(tmp_path, play=play_stub)
    source = read_source(tmp_path)
    assert ask(source)[0].startswith("3 variants (full_precision, fixed_bits_8, on_demand)")
    first, second, *_ = judge(source)
    assert first.startswith("fixed_bits_8: not decided: the interval is below 2 %, but 2 seeds")
    assert "it saves 0.0 % of the energy and 0.0 % of the uploaded bytes" in second
    costly = source.comparison.variants[2]._replace(less_joules_than_reference_percent=-2.14)
    variants = [*source.comparison.variants[:2], costly]
    comparison = source.comparison._replace(variants=variants)
    _, costs, *_ = judge(dataclasses.replace(source, comparison=comparison))
    assert "it costs 2.1 % more energy and saves 0.0 % of the uploaded bytes" in costs


def test_run_that_has_begun_says_how_far_it_is(tmp_path):
    records.write_json(tmp_path / records.CONFIG, CONFIG.to_dict())
    shutil.copy(OLD / "run" / records.METRICS, tmp_path)
    played = "2 of 40 rounds are played, no process plays it now"
    assert judge(read_source(tmp_path)) == [f"The run is not finished: {played}."]
