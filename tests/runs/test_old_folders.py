"""Folders that commit 6530e23 wrote, before fields and keys got the names of today."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from fedjax_diffusion import load_config, load_run, run, run_comparison
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.compare import list_plays, read_run, read_runs
from fedjax_diffusion.host.old_names import OLD_NAMES
from fedjax_diffusion.runs.records import read_metrics, read_summary
from fedjax_diffusion.runs.runner import check_same_config

OLD = pathlib.Path(__file__).parents[1] / "old_folders"


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
    for name, value in without_times(result.records[1]).items():
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


def test_a_finished_comparison_is_read_and_goes_on_elsewhere(tmp_path):
    before, config = read_runs(OLD / "comparison" / "runs.csv"), config_of(OLD / "comparison")
    plays = list_plays(config)
    for play, row in zip(plays, before, strict=True):
        folder = OLD / "comparison" / play.variant / f"seed_{play.seed}"
        check_same_config(play.config, folder)
        assert read_run(folder, play) == row
    assert run_comparison(config, tmp_path / "elsewhere", earlier=before).runs == before


@pytest.mark.parametrize(("old", "new"), OLD_NAMES["config"].items())
def test_an_old_key_on_the_command_line_is_answered_with_the_new_one(old, new, tmp_path, capsys):
    code = main(["run", f"--workdir={tmp_path / 'run'}", f"--config.{old}=iid"])
    assert code == 2
    answer = capsys.readouterr().err
    assert answer == f"fedjax-diffusion: config.{old}: is now called config.{new}\n"
    assert not (tmp_path / "run").exists()
