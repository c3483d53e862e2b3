"""Runs that do not learn: they say so, end early if asked to, and go on from there."""

import pytest

from fedjax_diffusion import load_run, run
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.runs.records import SUMMARY, read_metrics
from tests.runs.test_runner_faults import EVERYTHING
from tests.tiny import pixel_config

RUINED = {"client_optimizer__learning_rate": 1e38}
REFUSED = EVERYTHING | {"server_optimizer__learning_rate": 1e38}
"""By a rate alone other than runs elsewhere, whose programs these share."""
CONFIG_FILE = """
from tests.tiny import pixel_config


def get_config():
    return pixel_config(**{})
"""


def ruined_config(**overrides):
    return pixel_config(**RUINED, **overrides)


def without_times(summary):
    return {name: value for name, value in summary.items() if name != "wall_seconds"}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "stopped"
    return run(ruined_config(stop_after_diverged_rounds=2), workdir)


def test_a_run_of_diverged_rounds_ends_early_if_asked_to(stopped):
    assert [record["diverged"] for record in stopped.records] == [[0, 1, 2]] * 2
    summary = stopped.summary
    assert (summary["num_rounds"], summary["steps"], summary["lost_rounds"]) == (2, 0, 2)
    assert (summary["loss"], summary["left_out"]) == (None, {"diverged": 6})
    assert (stopped.workdir / "samples" / "round_00002.png").exists()
    _, state = load_run(stopped.workdir)
    assert int(state.round) == 2


def test_a_run_that_ended_early_is_finished_until_it_may_go_on(stopped):
    again = run(ruined_config(stop_after_diverged_rounds=2), stopped.workdir)
    assert not again.is_new
    (stopped.workdir / SUMMARY).unlink()  # as if it had been killed before its summary
    resumed = run(ruined_config(stop_after_diverged_rounds=2), stopped.workdir)
    assert resumed.is_new
    assert without_times(resumed.summary) == without_times(stopped.summary)
    longer = run(ruined_config(), stopped.workdir)
    assert longer.summary["num_rounds"] == len(read_metrics(stopped.workdir)) == 4


def test_a_step_of_the_server_that_is_not_finite_is_recorded_and_the_run_goes_on(tmp_path):
    result = run(pixel_config(**REFUSED | {"num_rounds": 2}), tmp_path / "refused")
    assert [record["step_refused"] for record in result.records] == [True, True]
    assert all(record["loss"] < 10 for record in result.records)
    assert result.summary["refused_steps"] == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (REFUSED, "the server's step was not finite"),
        (RUINED, "every client diverged"),
    ],
)
def test_the_command_ends_with_1_and_one_line_and_so_does_the_next(
    overrides, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    text = CONFIG_FILE.replace("**{}", f"**{overrides | {'num_rounds': 1}!r}")
    (tmp_path / "ruined.py").write_text(text)
    for _ in range(2):
        assert main(["run", "--config=ruined.py"]) == 1
        out, err = capsys.readouterr()
        assert f"{words} since round 0: the model has not changed since then" in out
        assert err.startswith(f"fedjax-diffusion: nothing was learned: {words} since round 0")
        assert err.count("\n") == 1
    assert "left out: none" not in out or "server" in words
