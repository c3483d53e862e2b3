"""The index has a typed row for each point and round, from the folders alone."""

import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from fedjax_diffusion import read_sweep
from fedjax_diffusion.runs import records
from fedjax_diffusion.runs.quality_log import QUALITY
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.folder import open_sweep
from fedjax_diffusion.sweep.index import write_index
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.play import PlayOptions
from fedjax_diffusion.sweep.runner import play_sweep
from tests.sweep.stubs import OLD, make_sweep, play_stub

LINES = records.read_metrics(OLD / "run")


def test_rows_hold_settings_results_and_places(tmp_path):
    axes = [
        hyper.sweep("model.channel_multipliers", [(1,), (1, 2)]),
        hyper.sweep("cohort_size", [None, 4]),
        hyper.sweep("client_optimizer.learning_rate", [1]),
    ]
    make_sweep(tmp_path, *axes)
    play_sweep(tmp_path, PlayOptions(limit=3), play=play_stub)
    table = read_sweep(tmp_path)
    assert table["status"].to_pylist() == ["evaluated"] * 3 + ["planned"]
    assert table["model.channel_multipliers"].to_pylist() == [[1], [1], [1, 2], [1, 2]]
    assert table["cohort_size"].to_pylist() == [None, 4, None, 4]
    assert table.schema.field("client_optimizer.learning_rate").type == pa.float64()
    assert table["seed"].to_pylist() == [0] * 4
    row = table.to_pylist()[0]
    assert row["total_joules"] == pytest.approx(sum(line["total_joules"] for line in LINES))
    for name in ("uplink_bytes", "downlink_bytes"):
        assert row[name] == sum(line[name] for line in LINES)
    assert row["rounds"] == len(LINES)
    assert row["simulated_seconds"] == 20.0 * len(LINES)
    assert (row["quality_name"], row["quality"], row["num_samples"]) == ("fcd", 12.5, 5000)
    assert (row["extractor"], row["extractor_fingerprint"]) == ("classifier", "abc")
    assert row["host"]
    saved = [name for name in table.column_names if name.startswith("saved_joules_percent.")]
    assert len(saved) == len(LINES[0]["baseline_joules"])
    unplayed = table.to_pylist()[3]
    assert unplayed["loss"] is None
    assert unplayed["quality"] is None


def test_files_hold_the_same_table(tmp_path):
    make_sweep(tmp_path, hyper.sweep("model.channel_multipliers", [(1,), (1, 2)]))
    play_sweep(tmp_path, play=play_stub)
    table = read_sweep(tmp_path)
    assert pyarrow.parquet.read_table(tmp_path / "index.parquet").equals(table)
    flat = pyarrow.csv.read_csv(tmp_path / "index.csv")
    assert flat.column_names == table.column_names
    assert flat["model.channel_multipliers"].to_pylist() == ["[1]", "[1, 2]"]
    assert flat["total_joules"].to_pylist() == table["total_joules"].to_pylist()
    rounds = pyarrow.parquet.read_table(tmp_path / "rounds.parquet")
    assert rounds.num_rows == 2 * len(LINES)
    assert rounds["loss"].to_pylist()[: len(LINES)] == [line["loss"] for line in LINES]
    mean_bits = [sum(line["num_bits"]) / len(line["num_bits"]) for line in LINES]
    assert rounds["mean_bits"].to_pylist()[: len(LINES)] == mean_bits
    (tmp_path / "index.csv").unlink()
    play_sweep(tmp_path, play=play_stub)
    assert (tmp_path / "index.csv").exists()


def test_quality_along_the_runs_is_in_the_rounds(tmp_path):
    sweep = make_sweep(tmp_path, hyper.sweep("seed", [0, 1]))
    play_sweep(tmp_path, play=play_stub)
    line = {"round": 1, "fcd_500": 31.5, "precision_500": 0.5, "recall_500": 0.25}
    line |= {"extractor": "classifier", "num_samples": 500}
    one, two = find_folders(sweep)
    (one / QUALITY).write_text(json.dumps(line) + "\n")
    (two / QUALITY).write_text("{")
    write_index(sweep)
    rounds = pyarrow.parquet.read_table(tmp_path / "rounds.parquet")
    rest = [None] * (2 * len(LINES) - 1)
    assert rounds["quality_name"].to_pylist() == ["fcd_500", *rest]
    assert rounds["quality"].to_pylist() == [31.5, *rest]
    assert rounds["recall"].to_pylist() == [0.25, *rest]


def test_columns_have_their_types_before_any_point_is_played(tmp_path):
    make_sweep(tmp_path)
    empty = read_sweep(tmp_path)
    play_sweep(tmp_path, play=play_stub)
    full = read_sweep(tmp_path)
    assert set(empty.schema) <= set(full.schema)


def test_damaged_files_leave_empty_cells(tmp_path):
    make_sweep(tmp_path)
    play_sweep(tmp_path, play=play_stub)
    one, two, three = find_folders(open_sweep(tmp_path))
    (one / records.METRICS).write_text("{]\n")
    (one / records.ENVIRONMENT).write_text("{")
    (two / records.SUMMARY).write_text("{}")
    (three / records.EVALUATION).write_text("[]")
    with (two / records.METRICS).open("a") as file:
        file.write('{"round": 7, "lo')  # a line that was cut
    assert read_sweep(tmp_path)["status"].to_pylist() == ["evaluated", "planned", "finished"]
    play_sweep(tmp_path, play=play_stub)
    rounds = pyarrow.parquet.read_table(tmp_path / "rounds.parquet")
    assert rounds.num_rows == 2 * len(LINES)
