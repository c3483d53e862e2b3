"""A sweep is played once, goes on after failures, signals and kills, and loses nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedjax_diffusion.experiment.config import with_overrides
from fedjax_diffusion.host.interruption import Interruption, StoppedBySignal
from fedjax_diffusion.runs import claims, records
from fedjax_diffusion.runs.claims import LostClaimError
from fedjax_diffusion.runs.records import FAILED
from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.folder import grow_sweep, open_sweep
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.listing import find_folders, list_folders
from fedjax_diffusion.sweep.play import PlayOptions, reopen_failed
from fedjax_diffusion.sweep.points import expand
from fedjax_diffusion.sweep.runner import play_sweep
from fedjax_diffusion.sweep.states import read_states
from tests.sweep.stubs import CONFIG, make_points, make_sweep, play_stub

WORKERS = Path(__file__).with_name("killed_workers.py")


def statuses(workdir):
    return [state.status for state in read_states(open_sweep(workdir))]


class Flaky:
    """Plays points, but fails for some seeds; knows the labels that it was given."""

    def __init__(self, *bad, error=ValueError):
        self.bad, self.error, self.played = bad, error, []

    def __call__(self, task):
        self.played.append(task.config.seed)
        if task.config.seed in self.bad:
            raise self.error("a line\nand another")
        play_stub(task)


def test_every_point_is_played_once(tmp_path):
    make_sweep(tmp_path)
    first, shown = play_sweep(tmp_path, play=play_stub), []
    assert first.num_played == 3
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    again = play_sweep(tmp_path, play=play_stub, on_point=lambda *a: shown.append(a))
    assert again.num_played == 0
    assert not shown
    assert not again.failures
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_failure_stops_nobody_is_shown_at_once_and_can_be_retried(tmp_path):
    make_sweep(tmp_path)
    shown, flaky = [], Flaky(1)
    result = play_sweep(tmp_path, play=flaky, on_point=lambda p, s: shown.append((p.label, s)))
    assert flaky.played == [0, 1, 2]
    assert [s.status for _, s in shown] == ["evaluated", "failed", "evaluated"]
    assert shown[1][1].error == "ValueError: a line and another"
    folder = find_folders(open_sweep(tmp_path))[1]
    failure = json.loads((folder / FAILED).read_text())
    assert failure.keys() == {"error", "traceback", "attempts", "host"}
    assert "in __call__" in failure["traceback"]
    assert [point.label for point, _ in result.failures] == ["seed-1"]

    assert play_sweep(tmp_path, play=flaky).num_played == 0
    retry = PlayOptions(is_retrying=True)
    assert play_sweep(tmp_path, retry, play=flaky).failures[0][1].attempts == 2
    assert not play_sweep(tmp_path, retry, play=play_stub).failures
    assert not (folder / FAILED).exists()


def test_a_retry_tries_once_whatever_the_number_of_workers(tmp_path):
    sweep, flaky = make_sweep(tmp_path), Flaky(1)
    play_sweep(tmp_path, play=flaky)
    assert statuses(tmp_path) == ["evaluated", "failed", "evaluated"]
    options = reopen_failed(sweep, PlayOptions(is_retrying=True))
    assert statuses(tmp_path) == ["evaluated", "planned", "evaluated"]
    flaky.played.clear()
    for _ in range(3):  # workers
        play_sweep(tmp_path, options, play=flaky)
    assert flaky.played == [1]
    assert read_states(sweep)[1].attempts == 2
    others = PlayOptions(is_retrying=True, only="seed-0")
    assert statuses(tmp_path)[1] == "failed" == read_states(sweep)[1].status
    reopen_failed(sweep, others)
    assert statuses(tmp_path)[1] == "failed"


@pytest.mark.parametrize(
    ("options", "played"),
    [
        (PlayOptions(limit=2), [0, 1]),
        (PlayOptions(only="seed-[02]"), [0, 2]),
        (PlayOptions(only="seed-2,*-0,seed-[9]"), [0, 2]),
        (PlayOptions(only="nothing"), []),
        (PlayOptions(only=""), []),
        (PlayOptions(is_failing_fast=True), [0, 1]),
    ],
)
def test_points_are_chosen(options, played, tmp_path):
    make_sweep(tmp_path)
    flaky = Flaky(1)
    play_sweep(tmp_path, options, play=flaky)
    assert flaky.played == played


def test_a_point_is_chosen_by_its_hash(tmp_path):
    sweep = make_sweep(tmp_path)
    flaky = Flaky()
    play_sweep(tmp_path, PlayOptions(only=sweep.points[2].hash[:HASH_DIGITS]), play=flaky)
    assert flaky.played == [2]


def test_a_point_that_another_process_plays_is_left_to_it(tmp_path):
    sweep = make_sweep(tmp_path)
    flaky = Flaky()
    with claims.take(tmp_path / claims.FOLDER, sweep.points[1].hash[:HASH_DIGITS]):
        assert statuses(tmp_path) == ["planned", "running", "planned"]
        play_sweep(tmp_path, play=flaky)
    assert flaky.played == [0, 2]
    play_sweep(tmp_path, play=Flaky(1, error=LostClaimError))
    assert statuses(tmp_path) == ["evaluated", "planned", "evaluated"]
    play_sweep(tmp_path, play=flaky)
    assert flaky.played == [0, 2, 1]


def test_evaluation_follows_its_settings(tmp_path):
    make_sweep(tmp_path)
    without = PlayOptions(is_evaluating=False)
    play_sweep(tmp_path, without, play=play_stub)
    assert statuses(tmp_path) == ["finished"] * 3
    assert play_sweep(tmp_path, play=play_stub).num_played == 3
    assert statuses(tmp_path) == ["evaluated"] * 3
    folder = find_folders(open_sweep(tmp_path))[0]
    kept = json.loads((folder / records.EVALUATION).read_text())
    kept["asked"]["num_samples"] += 1
    (folder / records.EVALUATION).write_text(json.dumps(kept))
    assert play_sweep(tmp_path, without, play=play_stub).num_played == 0
    assert play_sweep(tmp_path, play=play_stub).num_played == 1


def play_with_checkpoints(task):
    for round in ("5", "10"):
        (task.folder / "checkpoints" / round).mkdir(parents=True, exist_ok=True)
    play_stub(task)


@pytest.mark.parametrize(
    ("keep", "finished", "evaluated"), [("all", 2, 2), ("last", 1, 1), ("none", 1, 0)]
)
def test_a_finished_point_keeps_the_checkpoints_that_are_asked_for(
    tmp_path, keep, finished, evaluated
):
    """Without an evaluation the last one stays, as an evaluation needs it."""
    config = with_overrides(CONFIG, {"sweep.keep": keep})
    grow_sweep(config, make_points()[:1], tmp_path)
    for is_evaluating, number in ((False, finished), (True, evaluated)):
        play_sweep(tmp_path, PlayOptions(is_evaluating=is_evaluating), play=play_with_checkpoints)
        (folder,) = find_folders(open_sweep(tmp_path))
        left = sorted(path.name for path in (folder / "checkpoints").iterdir())
        assert left == ["10", "5"][:number]


def test_a_point_whose_early_end_is_a_divergence_has_diverged(tmp_path):
    def play(task):
        play_stub(task)
        path = task.folder / records.SUMMARY
        records.write_json(path, records.read_summary(task.folder) | {"lost_rounds": 1})

    config = with_overrides(CONFIG, {"stop_after_diverged_rounds": 1})
    grow_sweep(config, expand(config, lambda h: h.sweep("seed", [0])), tmp_path)
    play_sweep(tmp_path, play=play)
    assert statuses(tmp_path) == ["diverged"]


def test_a_diverged_point_is_a_result(tmp_path):
    def diverge(task):
        play_stub(task)
        lines = records.read_metrics(task.folder)
        lines = [line | {"loss": None, "diverged": [0]} for line in lines]
        (task.folder / records.METRICS).write_text("".join(json.dumps(x) + "\n" for x in lines))
        records.write_json(task.folder / records.SUMMARY, records.summarize(lines, 100))

    make_sweep(tmp_path, hyper.sweep("seed", [0]))
    result = play_sweep(tmp_path, play=diverge)
    assert statuses(tmp_path) == ["diverged"]
    assert not result.failures
    assert play_sweep(tmp_path, play=diverge).num_played == 0


def test_a_damaged_summary_is_made_again(tmp_path):
    make_sweep(tmp_path)
    play_sweep(tmp_path, play=play_stub)
    folder = find_folders(open_sweep(tmp_path))[1]
    (folder / records.SUMMARY).write_text('{"num_rou')
    assert statuses(tmp_path) == ["evaluated", "planned", "evaluated"]
    played = []

    def play(task):
        played.append(task.folder)
        (folder / records.SUMMARY).unlink()
        play_stub(task)

    assert play_sweep(tmp_path, play=play).num_played == 1
    assert statuses(tmp_path) == ["evaluated"] * 3
    assert played == [folder]


def test_a_request_to_stop_ends_between_points_and_is_no_failure(tmp_path):
    interruption = Interruption()

    def stop(task):
        play_stub(task)
        interruption.exit_code = 143

    make_sweep(tmp_path)
    with pytest.raises(StoppedBySignal):
        play_sweep(tmp_path, play=stop, interruption=interruption)
    assert statuses(tmp_path) == ["evaluated", "planned", "planned"]
    assert (tmp_path / "index.csv").exists()


def test_a_begun_point_uses_the_machine_as_it_began(tmp_path):
    sweep = make_sweep(tmp_path, hyper.sweep("seed", [0]))
    folder, seen = find_folders(sweep)[0], []
    folder.mkdir(parents=True)
    begun = sweep.points[0].config.to_dict()
    begun["checkpoint"]["every_rounds"] = 3
    begun["compute"]["client_map"] = "loop"
    records.write_json(folder / records.CONFIG, begun)
    play_sweep(tmp_path, play=lambda task: seen.append(task.config))
    assert seen[0].compute.client_map == "loop"
    assert seen[0].checkpoint == sweep.base.checkpoint, "all else is as the sweep has it now"


@pytest.mark.parametrize(
    ("num_points", "num_kills"), [(10, 4), pytest.param(40, 12, marks=pytest.mark.slow)]
)
def test_killed_workers_finish_every_point_exactly_once(num_points, num_kills, tmp_path):
    command = [sys.executable, str(WORKERS), str(tmp_path), str(num_points), str(num_kills)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr
    sweep = open_sweep(tmp_path)
    assert statuses(tmp_path) == ["finished"] * len(sweep.points)
    assert len(list_folders(tmp_path)) == len(sweep.points) == num_points
    assert int(answer.stdout) >= 2 * num_kills / 3
