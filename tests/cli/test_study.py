"""``fedjax-diffusion study``, as a user types it."""

import os
import queue
import signal
import sys

import pytest

from fedjax_diffusion.cli.main import main
from fedjax_diffusion.study import FIGURES
from tests.empty_figures import leave_figures_empty
from tests.study.test_folder import OVERRIDES
from tests.tiny import PIXELS

FLAGS = [f"--config.{key}={value}" for key, value in OVERRIDES.items() if "model." not in key]


@pytest.fixture(autouse=True)
def empty_figures(monkeypatch):
    leave_figures_empty(monkeypatch)


def test_a_study_prints_its_table_and_where_everything_lies(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", *PIXELS, *FLAGS]) == 0
    out, err = capsys.readouterr()
    clients = f"{OVERRIDES['partition.num_clients']} clients, "
    for text in (clients, "Deadline 20 s", "on_demand", "full_precision:max_frequency"):
        assert text in out
    for text in ("saved A: against full_precision with the optimal split", "83.6 % is reached in"):
        assert text in out
    assert err == "", "no bar where no terminal is"
    for name in ("study.csv", *FIGURES.values()):
        assert f"studies/pixels/{name}" in out
        assert (tmp_path / "studies/pixels" / name).exists()


def test_workdir_and_config_are_options(tmp_path, capsys):
    workdir = tmp_path / "elsewhere"
    assert main(["study", *PIXELS, f"--workdir={workdir}", *FLAGS]) == 0
    assert str(workdir / "study.csv") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.study.round=1"], "did you mean study.rounds"),
        (
            ["--config.study.rounds=many"],
            "config.study.rounds must be a whole number in 1..1000000, got 'many'",
        ),
        (
            ["--config.study.rounds=0"],
            "config.study.rounds must be a whole number in 1..1000000, got 0",
        ),
        (
            ["--config.study.methods=demand"],
            "it lacks full_precision and full_precision:max_freq",
        ),
        (
            ["--config.study.methods=a,b"],
            "such as fixed_bits:8, written as ('a', 'b'), got 'a,b'",
        ),
        (
            ["--config.study.methods=('best',)"],
            "config.study.methods: method = 'best': must be one of",
        ),
        (["--config.study.time_budgets_seconds=(0,)"], "study.time_budgets_seconds: each entry"),
        (["--config.study=1"], "config.study is a group; set one of study."),
        (["--config=missing.py"], "no file missing.py"),
        (["--rounds=1"], "unknown argument --rounds=1"),
        (["--config.allocator.error_budget.relative=0.1"], "give one of as_fixed_bits"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("fedjax-diffusion: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "word"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated")])
def test_a_signal_ends_a_study_at_once_in_one_line(number, word, tmp_path, monkeypatch, capfd):
    exit_codes = queue.SimpleQueue()

    def interrupt(*_, **__):
        signal.raise_signal(getattr(signal, number))
        sys.exit(exit_codes.get(timeout=20))  # for the thread that ends the process

    monkeypatch.setattr("fedjax_diffusion.study.run_study", interrupt)
    monkeypatch.setattr(os, "_exit", exit_codes.put)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit, match="130" if number == "SIGINT" else "143"):
        main(["study", f"--workdir={tmp_path}"])
    assert capfd.readouterr().err == f"\n{word}; repeat the command\n"
    assert signal.getsignal(signal.SIGINT) is before
