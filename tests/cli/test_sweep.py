"""The command ``sweep``, as a user types it."""

import os
import re
import signal
import threading

import jax
import numpy as np
import pyarrow.parquet
import pytest

from fedjax_diffusion import load_run, run
from fedjax_diffusion.cli import sweep as command
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.experiment.config import with_overrides
from fedjax_diffusion.runs import evaluate
from fedjax_diffusion.runs.folder import read_config
from fedjax_diffusion.runs.records import read_metrics
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.folder import open_sweep
from fedjax_diffusion.sweep.launchers import local, slurm
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.runner import play_sweep
from fedjax_diffusion.sweep.states import read_states
from tests.runs.test_evaluate import pixels_as_features
from tests.sweep.stubs import make_sweep, play_stub
from tests.sweep.test_runner import Flaky
from tests.tiny import PIXELS

TINY = ["sweep", *PIXELS]
DEMAND = [*PIXELS, "--config.allocator.method=demand"]
"""The method of which a program is compiled in any case."""


def test_two_points_are_played_evaluated_and_listed(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.setattr(evaluate, "make_extractor", lambda *_: pixels_as_features())
    workdir = tmp_path / "sweep"
    line = [*TINY, "--config.num_rounds=2", "--config.evaluation.num_samples=20"]
    line += ["--sweep.allocator.method=demand,full_precision", f"--workdir={workdir}"]
    assert main([*line, "--dry_run"]) == 0
    assert "2 to play" in capfd.readouterr().out
    assert not workdir.exists()
    assert main(line) == 0
    out, err = capfd.readouterr()
    assert (err, caplog.text) == ("", "")
    assert re.search(r"method-demand: evaluated  loss \d\S+  fcd \d\S+  \d\S+ J  \d\S+ MB", out)
    assert "2 points: 2 evaluated" in out
    table = pyarrow.parquet.read_table(workdir / "index.parquet")
    assert table["num_samples"].to_pylist() == [20, 20]
    assert len(set(table["uplink_bytes"].to_pylist())) == 2

    folder = find_folders(open_sweep(workdir))[1]
    single = run(with_overrides(read_config(folder), {}), tmp_path / "single")
    for ours, theirs in zip(read_metrics(folder), single.records, strict=True):
        assert ours | {"wall_seconds": 0} == theirs | {"wall_seconds": 0}
    states = [load_run(path)[1] for path in (folder, single.workdir)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_a_signal_ends_a_sweep_with_a_checkpoint(tmp_path, capsys):
    def send():
        while not any(path.stat().st_size for path in tmp_path.glob("points/*/metrics.jsonl")):
            if is_over.wait(0.1):
                return
        os.kill(os.getpid(), signal.SIGUSR1)

    is_over = threading.Event()
    sender = threading.Thread(target=send)
    sender.start()
    flags = ["--config.num_rounds=5000", "--sweep.seed=0..1", "--no_evaluation"]
    try:
        assert main(["sweep", *DEMAND, *flags, f"--workdir={tmp_path}"]) == 143
    finally:
        is_over.set()
        sender.join()
    error = capsys.readouterr().err
    rounds = int(re.search(r"seed-0\S+: (\d+) rounds are saved; repeat the command", error)[1])
    (folder,) = tmp_path.glob("points/*")
    assert (folder / "checkpoints" / str(rounds)).is_dir()
    assert not (folder / "failed.json").exists()


@pytest.fixture
def finished(tmp_path, capsys):
    workdir = tmp_path / "sweep"
    make_sweep(workdir, hyper.sweep("seed", range(2)))
    play_sweep(workdir, play=play_stub)
    return workdir


def test_a_finished_sweep_goes_on_by_its_folder_and_does_nothing(finished, capsys):
    assert main(["sweep", f"--workdir={finished}"]) == 0
    assert main(["sweep", f"--workdir={finished}", "--worker"]) == 0
    assert main(["sweep", f"--workdir={finished}", "--status", "--watch"]) == 0
    assert capsys.readouterr().out.count("2 evaluated") == 3
    assert main(["sweep", f"--workdir={finished}", "--dry_run"]) == 0
    assert "0 to play" in capsys.readouterr().out


def test_a_reference_is_named_by_the_config_or_for_the_folder(finished, capsys):
    line = ["sweep", f"--workdir={finished}", "--reference=seed-*"]
    assert main([*line, "--dry_run"]) == 0
    assert open_sweep(finished).reference is None
    assert main(line) == 0
    assert '"saved_joules_percent.reference"' in (finished / "index.csv").read_text()
    assert main(["sweep", f"--workdir={finished}", "--reference=mine"]) == 2
    assert "reference=mine matches no point" in capsys.readouterr().err
    line = ["sweep", "--config=digits", "--sweep.seed=0..1", "--no_evaluation", "--dry_run"]
    assert main([*line, "--reference=best"]) == 2
    assert "reference=best matches no point" in capsys.readouterr().err


def test_workers_are_started_by_the_command(finished, capsys):
    line = ["sweep", f"--workdir={finished}", "--launcher=local", "--workers=1"]
    assert main(line) == 0
    assert "2 points: 2 evaluated" in (finished / "logs" / "worker-1.log").read_text()
    assert "1 workers" in capsys.readouterr().out


def test_the_launcher_opens_failed_points_once_for_all_workers(tmp_path, monkeypatch, capsys):
    sweep = make_sweep(tmp_path)
    play_sweep(tmp_path, play=Flaky(1))
    seen = []

    def launch(order):
        statuses = [state.status for state in read_states(sweep)]
        seen.append((order.num_workers, order.flags, statuses))
        return 0

    monkeypatch.setattr(local, "launch", launch)
    line = ["sweep", f"--workdir={tmp_path}", "--launcher=local", "--workers=1"]
    assert main([*line, "--retry", "--fail_fast", "--only=seed-*"]) == 0
    flags = ["--fail_fast", "--only=seed-*", "--workers=1"]
    assert seen == [(1, flags, ["evaluated", "planned", "evaluated"])]


def test_settings_reach_the_engine_and_the_command_ends(finished, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(slurm, "check", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr(slurm, "launch", lambda order: seen.append(order) or 0)
    line = ["sweep", f"--workdir={finished}", "--launcher=slurm", "--workers=2"]
    assert main([*line, "--slurm.timeout_min=240", "--slurm.partition=gpu", "--fail_fast"]) == 0
    settings = {"timeout_min": 240, "partition": "gpu"}
    assert seen[0] == (2, settings)
    assert seen[1][:4] == (finished, 2, ["--fail_fast", "--workers=2"], settings)
    assert "2 points: 2 evaluated" in capsys.readouterr().out


def test_failed_points_are_listed_with_exit_code_1(tmp_path, monkeypatch, capsys):
    def play(*arguments, **options):
        return play_sweep(*arguments, **options, play=Flaky(1))

    make_sweep(tmp_path)
    monkeypatch.setattr(command, "play_sweep", play)
    assert main(["sweep", f"--workdir={tmp_path}"]) == 1
    captured = capsys.readouterr()
    assert "seed-1: failed, ValueError: a line and another" in captured.out
    assert "3 points: 2 evaluated, 1 failed" in captured.out
    assert "failed  seed-1, attempt 1: ValueError" in captured.out
    assert "--retry" in captured.err


def test_values_of_a_file_and_axes_are_multiplied(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\n"
        "import dataclasses\n"
        "from tests.tiny import pixel_config\n"
        "@dataclasses.dataclass\n"
        "class Rounds:\n    few: int = 1\n"
        "def get_config():\n    return pixel_config()\n"
        "def get_hyper(h):\n    return h.sweep('num_rounds', [Rounds().few, 2])\n"
    )
    line = ["sweep", "--config=mine.py", "--sweep.seed=0..2", "--dry_run", "--no_evaluation"]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "sweep   sweeps/mine" in out
    assert "points  6: 6 planned; 6 to play" in out
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["mine.py"]


SEED = "--sweep.seed=0..1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --config=FILE, or --workdir"),
        (["--config=digits"], "there is no get_hyper"),
        (["--config=nowhere.py", SEED], "no file nowhere.py"),
        (["--config=digits", "--sweep.sede=1"], "did you mean seed"),
        (
            ["--config=digits", "--sweep.seed=a"],
            "point 1 (seed=a): config.seed must be a whole number",
        ),
        (["--config=digits", "--sweep.seed=1..0"], "the range 1..0 is empty"),
        (["--config=digits", "--sweep.seed="], "an empty value"),
        (["--config=digits", "--sweep.seed"], "an axis is written --sweep.KEY=a,b,c"),
        (["--config=digits", "--sweep.seed=1,1"], "the same settings"),
        (["--config=digits", "--sweep.compute.conv=stock"], "cannot be swept"),
        (["--config=digits", "--sweep.seed=0..10000"], "more than 10,000 points; --yes"),
        (["--config=digits", SEED, "--config.sede=1"], "did you mean seed"),
        (["--config=digits", SEED, "--workdir=file"], "file is a file"),
        (["--config=digits", SEED, "--seed=1"], "unknown argument --seed=1"),
        (["--config=digits", SEED, "--limit=0"], "--limit must be at least 1"),
        (["--config=digits", SEED, "--watch"], "--watch belongs to --status"),
        (["--config=digits", SEED, "--workers=2"], "--launcher and --workers belong together"),
        (["--config=digits", SEED, "--launcher=local"], "belong together"),
        (["--config=digits", SEED, "--launcher=local", "--workers=99999"], "--workers must be in"),
        (["--config=digits", SEED, "--slurm.partition=gpu"], "give it"),
        (["--config=digits", SEED, "--launcher=slurm", "--workers=2"], "--launcher=slurm"),
        (["--config=digits", "--status"], "--status reads the sweep's folder"),
        (["--workdir=x", "--worker", SEED], "give --config=FILE too"),
        (["--workdir=x", "--worker", "--launcher=local", "--workers=1"], "with neither --worker"),
        (
            ["--workdir=x", "--status", "--reference=a"],
            "--reference names a point of what is played",
        ),
        (["--workdir=nowhere"], "nowhere is not the folder of a sweep"),
        (["--workdir=nowhere", "--status"], "nowhere is not the folder of a sweep"),
        (
            [*PIXELS, "--sweep.allocator.time_budget_seconds=0.1", "--no_evaluation"],
            "no client can participate",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["sweep", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("fedjax-diffusion: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert os.listdir(tmp_path) == ["file"]


def test_an_unknown_launcher_is_bad_input(capsys):
    assert main(["sweep", "--config=digits", SEED, "--launcher=cloud", "--workers=1"]) == 2
    assert "'local', 'slurm', 'ray'" in capsys.readouterr().err
