"""A folder of each kind becomes tables; what is damaged or unfinished is a row with its status."""

import json
import shutil

import pytest

from fedjax_diffusion import load_config
from fedjax_diffusion.compare import list_plays, write_runs
from fedjax_diffusion.compare.runner import TABLE
from fedjax_diffusion.report.sheets import list_sheets
from fedjax_diffusion.report.source_figures import list_source_figures
from fedjax_diffusion.report.sources import read_source
from fedjax_diffusion.report.verdict import judge
from fedjax_diffusion.runs import records
from fedjax_diffusion.runs.records import FAILED
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.folder import grow_sweep, open_sweep
from fedjax_diffusion.sweep.index import read_sweep, write_index
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.reference import find_reference
from fedjax_diffusion.sweep.runner import play_sweep
from fedjax_diffusion.sweep.status import format_status
from tests.report.folders import METHODS, make_played_sweep
from tests.sweep.stubs import CONFIG, OLD, make_sweep, play_stub

LINES = records.read_metrics(OLD / "run")


def test_sweep_has_the_tables_of_its_index(tmp_path):
    make_played_sweep(tmp_path)
    source = read_source(tmp_path)
    tables = source.tables
    assert (tables.kind, tables.title) == ("sweep", tmp_path.name)
    assert tables.index.equals(read_sweep(tmp_path))
    assert tables.rounds.num_rows == 6 * len(LINES)
    assert tables.axes == ("allocator.method", "seed")
    assert tables.reference is None
    assert [*tables.folders] == tables.index["hash"].to_pylist()
    assert all((folder / records.SUMMARY).exists() for folder in tables.folders.values())
    assert source.warnings == []


def test_axis_with_one_value_is_none_but_its_value_is_in_the_config(tmp_path):
    axes = [hyper.sweep("num_rounds", [7]), hyper.sweep("seed", range(2))]
    make_played_sweep(tmp_path, *axes)
    source = read_source(tmp_path)
    assert source.tables.axes == ("seed",)
    assert (source.config.num_rounds, source.base.num_rounds) == (7, CONFIG.num_rounds)


def test_reference_is_a_point_of_its_setting(tmp_path):
    points = make_sweep(tmp_path, hyper.sweep("allocator.method", METHODS)).points
    grow_sweep(CONFIG, points, tmp_path, find_reference(points, points[1].label))
    assert read_source(tmp_path).tables.reference == points[1].hash[:12]


def test_run_is_an_index_of_one_row(tmp_path):
    make_played_sweep(tmp_path / "sweep")
    folder = find_folders(open_sweep(tmp_path / "sweep"))[0]
    run = shutil.copytree(folder, tmp_path / "one")
    tables = read_source(run).tables
    of_sweep = read_sweep(tmp_path / "sweep").to_pylist()[0]
    (row,) = tables.index.to_pylist()
    assert (tables.kind, row["label"], tables.axes) == ("run", "one", ())
    assert row["hash"] == of_sweep["hash"]
    assert {name: row[name] for name in ("total_joules", "quality", "status", "rounds")} == {
        name: of_sweep[name] for name in ("total_joules", "quality", "status", "rounds")
    }
    assert tables.rounds["loss"].to_pylist() == [line["loss"] for line in LINES]
    assert tables.rounds["relative_gap"].to_pylist() == [line["relative_gap"] for line in LINES]


def test_run_that_has_begun_has_its_rounds(tmp_path):
    records.write_json(tmp_path / records.CONFIG, CONFIG.to_dict())
    shutil.copy(OLD / "run" / records.METRICS, tmp_path)
    tables = read_source(tmp_path).tables
    assert tables.index["status"].to_pylist() == ["planned"]
    assert tables.rounds.num_rows == len(LINES)


def test_points_that_are_damaged_or_open_are_rows(tmp_path):
    make_played_sweep(tmp_path)
    one, two, three, four, *_ = find_folders(open_sweep(tmp_path))
    (one / records.SUMMARY).write_text("{")
    (two / records.METRICS).write_text("{]\n")
    (three / FAILED).write_text(json.dumps({"error": "no memory", "attempts": 1}))
    shutil.rmtree(four)
    source = read_source(tmp_path)
    statuses = source.tables.index["status"].to_pylist()
    assert statuses == ["planned", "evaluated", "failed", "planned", "evaluated", "evaluated"]
    (warning,) = source.warnings
    assert f"{two / records.METRICS} is damaged: it has 0 readable rounds of 2" in warning


def test_comparison_has_variants_and_their_verdicts(tmp_path):
    config = load_config("digits", {"compare.num_seeds": 2})
    grow_sweep(config, [play.point for play in list_plays(config)], tmp_path)
    assert read_source(tmp_path).comparison.variants == []
    play_sweep(tmp_path, play=play_stub)
    source = read_source(tmp_path)
    assert source.tables.kind == "comparison"
    assert source.tables.axes == ("allocator.method", "seed")
    names = ["full_precision", "fixed_bits_8", "on_demand"]
    assert source.tables.index["variant"].to_pylist() == names * 2
    assert [row.variant for row in source.comparison.variants] == names
    assert not (tmp_path / TABLE).exists()
    assert source.num_elsewhere == 0
    assert "variants" not in [figure.name for figure in list_source_figures(source)]
    write_runs(tmp_path / TABLE, source.comparison.runs)
    shutil.rmtree(tmp_path / "points")  # now they are runs of another folder
    moved = read_source(tmp_path)
    assert moved.comparison == source.comparison
    assert moved.num_elsewhere == 6
    assert "6 of the compared runs are of other folders" in judge(moved)[-1]
    title, sheet = list_sheets(moved)[0]
    assert title == "Variants, with the runs of other folders"
    assert [row[0].text for row in sheet.rows] == names
    (figure,) = list_source_figures(moved)
    assert len(figure.draw().axes[0].texts) == 3, "a name for each variant"
    (tmp_path / TABLE).write_text("other columns\n")
    source = read_source(tmp_path)
    assert source.comparison is None
    assert "The verdict is missing: " in source.warnings[-1]


def test_folders_of_no_kind_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no run, comparison, study or sweep"):
        read_source(tmp_path)
    with pytest.raises(ValueError, match="of an earlier version; repeat its compare command"):
        read_source(OLD / "comparison")
    (tmp_path / "study.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match="holds no whole study"):
        read_source(tmp_path)


def test_reading_writes_nothing(tmp_path):
    make_played_sweep(tmp_path)
    write_index(open_sweep(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    read_source(tmp_path)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_errors_far_above_their_bound_are_said_of_a_sweep_and_of_a_run(tmp_path):
    make_played_sweep(tmp_path / "sweep")
    sweep = open_sweep(tmp_path / "sweep")
    folders = find_folders(sweep)
    far = {"quantization_error": 0.8, "quantization_error_bound": 0.1}
    lines = [line | (far if line["round"] == 1 else {}) for line in LINES]
    records.write_json(folders[2] / records.SUMMARY, records.summarize(lines, 100))
    run = shutil.copytree(folders[2], tmp_path / "one")
    said = "the measured quantization error was 8 times its bound in round 1, and more than 4 times"
    for workdir, label in ((sweep.workdir, sweep.points[2].label), (run, "one")):
        (line,) = read_source(workdir).warnings
        assert line.startswith(f"{label}: {said} in 1 round:")
    assert f"{sweep.points[2].label}: {said}" in format_status(sweep.workdir)
    index = read_sweep(sweep.workdir).select(["rounds_far_above_bound", "largest_error_over_bound"])
    assert index.to_pylist()[2] == dict(zip(index.column_names, (1, 8.0), strict=True))
    assert index["rounds_far_above_bound"].to_pylist().count(0) == len(folders) - 1
