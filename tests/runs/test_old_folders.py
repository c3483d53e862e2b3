"""Folders that commit 6530e23 wrote, before fields and keys got the names of today."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from fedjax_diffusion import load_config, load_run, run, run_comparison
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.compare import open_comparison, read_runs
from fedjax_diffusion.host.old_names import OLD_NAMES, to_current_names
from fedjax_diffusion.runs import claims
from fedjax_diffusion.runs.records import read_metrics, read_summary
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.play import PlayOptions
from fedjax_diffusion.sweep.states import read_states
from tests.empty_figures import leave_figures_empty

OLD = pathlib.Path(__file__).parents[1] / "old_folders"


@pytest.fixture(autouse=True)
def empty_figures(monkeypatch):
    leave_figures_empty(monkeypatch)


def copy(name, tmp_path):
    """Returns a copy of an old folder that a test may write into."""
    return pathlib.Path(shutil.copytree(OLD / name, tmp_path / name))


def config_of(folder):
    """Returns the config of an old folder, given with the keys of today."""
    saved = json.loads((folder / "config.json").read_text())
    for old, new in OLD_NAMES["config"].items():
        group, name = old.split(".")
        saved[group][new.split(".")[1]] = saved[group].pop(name)
    config = load_config("digits")
    with config.unlocked():
        config.update(saved)
    return config


def without_times(record):
    """Returns a record without what no second run repeats."""
    return {name: value for name, value in record.items() if name != "wall_seconds"}


def test_an_interrupted_run_goes_on_and_ends_as_it_did(tmp_path):
    folder = copy("run", tmp_path)
    first, second = (without_times(line) for line in read_metrics(folder))
    result = run(config_of(folder), folder)
    assert without_times(result.records[0]) == first
    assert "update_squared_norm" in first
    # The second is equal to the bit on one CPU device, as it was written; these tests have eight.
    for name in second:  # a field that is newer than the folder has no value there
        value = result.records[1][name]
        is_exact = not isinstance(value, float)
        assert value == (second[name] if is_exact else pytest.approx(second[name], rel=1e-5)), name


def test_a_checkpoint_is_restored_under_the_names_of_today(tmp_path):
    _, state = load_run(copy("run", tmp_path))
    assert int(state.round) == 1
    assert (np.asarray(state.bit_width_error) >= 0).all()
    assert float(state.update_squared_norm) > 0
    assert np.abs(np.asarray(state.client_memory)).max() > 0


def test_a_summary_has_the_names_of_today():
    rows = read_summary(OLD / "comparison" / "on_demand" / "seed_0")["methods"]
    assert [row["method"] for row in rows][:2] == ["this_run", "full_precision"]


def test_a_finished_comparison_becomes_a_sweep_that_says_the_same(tmp_path):
    folder = copy("comparison", tmp_path)
    before, config = read_runs(folder / "runs.csv"), config_of(folder)
    summary = to_current_names("runs", json.loads((folder / "summary.json").read_text()))
    done = run_comparison(config, folder)
    assert done.runs == before
    assert done.missing == []
    after = json.loads((folder / "summary.json").read_text())
    assert after["variants"] == summary["schemes"]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("claims", "figures", "index.csv", "index.parquet", "points", "rounds.parquet"),
        *("runs.csv", "summary.json", "sweep.json"),
    ]
    assert len(list((folder / "points").glob("on_demand+seed-[01]--*/metrics.jsonl"))) == 2
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    assert run_comparison(config, folder).runs == before
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")} == times


def test_an_interrupted_comparison_goes_on_where_it_stopped(tmp_path):
    folder = copy("comparison", tmp_path)
    begun = folder / "on_demand" / "seed_1"
    for name in ("summary.json", "evaluation.json"):
        (begun / name).unlink()
    (begun / "checkpoints").mkdir()
    (begun / "checkpoints" / "precious").touch()
    opened = open_comparison(config_of(folder), folder, PlayOptions(), [])
    assert [state.status for state in read_states(opened.sweep)] == ["evaluated"] * 3 + ["planned"]
    assert (find_folders(opened.sweep)[3] / "checkpoints" / "precious").exists()
    assert not begun.parent.exists()


def test_a_finished_comparison_goes_on_elsewhere(tmp_path):
    before, config = read_runs(OLD / "comparison" / "runs.csv"), config_of(OLD / "comparison")
    assert run_comparison(config, tmp_path / "elsewhere", earlier=before).runs == before


def test_a_comparison_of_other_settings_is_left_as_it_is(tmp_path):
    folder = copy("comparison", tmp_path)
    config = config_of(folder)
    with config.unlocked():
        config.num_rounds += 1
    with pytest.raises(ValueError, match=r"full_precision/seed_0 holds a run of another config"):
        run_comparison(config, folder)
    with pytest.raises(ValueError, match="a comparison of an earlier version; without --dry_run"):
        open_comparison(config_of(folder), folder, PlayOptions(), [], is_dry=True)
    busy = folder / "on_demand" / "seed_1" / "claims"
    with claims.take(busy, "run"), pytest.raises(ValueError, match="works on it since"):
        run_comparison(config_of(folder), folder)
    shutil.rmtree(busy)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    assert names == sorted(
        p.relative_to(OLD / "comparison") for p in (OLD / "comparison").rglob("*")
    )


@pytest.mark.parametrize(("old", "new"), OLD_NAMES["config"].items())
def test_an_old_key_on_the_command_line_is_answered_with_the_new_one(old, new, tmp_path, capsys):
    code = main(["run", f"--workdir={tmp_path / 'run'}", f"--config.{old}=iid"])
    assert code == 2
    answer = capsys.readouterr().err
    assert answer == f"fedjax-diffusion: config.{old}: is now called config.{new}\n"
    assert not (tmp_path / "run").exists()
