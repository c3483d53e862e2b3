"""A run goes on with other settings if these change no number of it, also with more rounds."""

import json
import shutil

import pytest

from fedjax_diffusion import evaluate, load_run, run
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.data.sources import LOADERS, load_digits
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.runs import changes
from fedjax_diffusion.runs.folder import check_same_config, read_config
from fedjax_diffusion.runs.records import read_metrics
from fedjax_diffusion.sweep.identity import NOT_IN_IDENTITY
from tests.reliability.broken import config_of, contents
from tests.reliability.test_resumption import without_time

FREE = {
    "data__data_dir": "elsewhere",
    "checkpoint__every_rounds": 3,
    "checkpoint__keep": 1,
    "evaluation__num_samples": 30,
    "study__rounds": 2,
    "compare__num_seeds": 2,
    "compute__tune": "guess",
    "compute__tune_seconds": 1.0,
    "compute__data": "streamed",
    "sweep__keep": "none",
    "sampling__fixed_noise": True,
}


def test_what_a_sweep_leaves_out_of_its_identity_is_free():
    """But for the use of the machine, with which a point goes on as it began."""
    assert {name for name in NOT_IN_IDENTITY if name != "compute"} <= {
        name.removesuffix(".") for name in changes._FREE
    }


@pytest.fixture
def in_a_folder(monkeypatch):
    """Makes digits a data set that lies in a folder; any folder holds the same."""
    monkeypatch.setitem(LOADERS, "digits", lambda name, split, _: load_digits(name, split))


def check(folder, **overrides):
    check_same_config(to_run_config(config_of(**overrides)), folder)


def test_settings_that_change_no_number_may_be_others(interrupted, finished, in_a_folder):
    check(interrupted, **FREE)
    # Streamed data are those of another program, of which test_many_clients.py holds the same.
    played = {name: value for name, value in FREE.items() if name != "compute__data"}
    result = run(config_of(**played), interrupted)
    assert without_time(result.records) == without_time(read_metrics(finished))
    state = "checkpoints/4/leaves.bin"
    assert (interrupted / state).read_bytes() == (finished / state).read_bytes()
    config = read_config(interrupted)
    assert (config.data.data_dir, config.checkpoint.keep) == ("elsewhere", 1)
    assert [path.name for path in (interrupted / "checkpoints").iterdir()] == ["4"]


def test_settings_that_change_numbers_or_pictures_may_not(interrupted):
    begun = json.loads((interrupted / "environment.json").read_text())["compute"]
    for name in ("client_map", "conv", "cpu_devices", "chunk_size"):
        check(interrupted, **{f"compute__{name}": begun[name]})
    for overrides in (
        {"compute__client_map": "loop"},
        {"compute__dtype": "bfloat16"},
        {"compute__remat": True},
        {"sampling__num_samples": 9},
        {"round_schedule": "cosine"},
        {"num_rounds": 3},
    ):
        (key,) = (name.replace("__", ".") for name in overrides)
        with pytest.raises(ValueError, match=rf"another config \({key}: .* choose another"):
            check(interrupted, **overrides)


def test_a_finished_run_is_played_for_more_rounds(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    started_at = []
    stop = lambda _, first: started_at.append(first) or 1 / 0  # noqa: E731
    with pytest.raises(ZeroDivisionError):
        run(config_of(num_rounds=6), folder, on_start=stop)
    assert started_at == [4]
    assert not (folder / "summary.json").exists(), "it is not finished any more"
    assert int(load_run(folder)[1].round) == 4
    longer = run(config_of(num_rounds=6), folder)
    whole = run(config_of(num_rounds=6), tmp_path / "whole")
    assert longer.summary | {"wall_seconds": 0} == whole.summary | {"wall_seconds": 0}
    assert without_time(longer.records) == without_time(whole.records)
    found, expected = contents(folder), contents(whole.workdir)
    for name in ("checkpoints/6/leaves.bin", "samples/round_00006.png", "figures/training.png"):
        assert found[name] == expected[name]
    assert not run(config_of(num_rounds=6), folder).is_new
    with pytest.raises(ValueError, match="num_rounds: 6 there, 4 here"):
        run(config_of(), folder)


def test_more_rounds_are_refused_where_the_run_would_be_another_one(finished, tmp_path):
    point = shutil.copytree(finished, tmp_path / "sweep" / "points" / "point--0123456789ab")
    before = contents(point)
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    with pytest.raises(ValueError, match=r"add a point to the sweep: --sweep.num_rounds=6"):
        run(config_of(num_rounds=6), point)
    path = point / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"round_schedule": "cosine"}))
    (tmp_path / "sweep" / "sweep.json").unlink()
    with pytest.raises(ValueError, match="whose learning rates depend on num_rounds, by cosine"):
        run(config_of(num_rounds=6, round_schedule="cosine"), point)
    assert contents(point).keys() == before.keys()


def test_sample_and_evaluate_find_data_that_were_moved(finished, in_a_folder, monkeypatch, capsys):
    assert load_run(finished, None, "elsewhere")[0].config.data.data_dir == "elsewhere"
    asked = []

    def note(*_, data_dir=None, **__):
        asked.append(data_dir)
        raise ValueError("noted")

    monkeypatch.setattr("fedjax_diffusion.runs.sample.sample", note)
    monkeypatch.setattr("fedjax_diffusion.runs.evaluate.evaluate", note)
    for command in ("sample", "evaluate"):
        assert main([command, f"--workdir={finished}", "--data_dir=there"]) == 2
    assert asked == ["there", "there"]
    assert capsys.readouterr().err == 2 * "fedjax-diffusion: noted\n"


def test_a_file_that_cannot_be_read_is_one_line(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "evaluation.json").mkdir()
    with pytest.raises(ValueError, match=r"evaluation\.json: Is a directory; choose another path"):
        evaluate(folder, {"num_samples": 20})
    (folder / "environment.json").unlink()
    (folder / "environment.json").mkdir()
    with pytest.raises(ValueError, match=r"environment\.json: Is a directory"):
        load_run(folder)


def test_a_run_knows_whether_it_has_saved_a_checkpoint(interrupted, finished):
    """A sweep saves by time: its point may have many rounds and no checkpoint yet."""
    shutil.rmtree(interrupted / "checkpoints")
    path = interrupted / "environment.json"
    environment = json.loads(path.read_text())
    assert environment["has_checkpoint"] is True
    path.write_text(json.dumps(environment | {"has_checkpoint": False}))
    result = run(config_of(), interrupted)
    assert without_time(result.records) == without_time(read_metrics(finished))
    assert json.loads(path.read_text())["has_checkpoint"] is True
