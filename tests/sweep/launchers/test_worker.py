"""A worker in a job of a cluster: its turn, its signals and its end."""

import signal
import threading
import time

import pytest

from fedjax_diffusion.runs import claims
from fedjax_diffusion.sweep.launchers import worker
from fedjax_diffusion.sweep.launchers.worker import Progress, Worker, read_progress
from tests.sweep.launchers.stand_ins import replace_workers

PROGRAM = """
import os, pathlib, signal, sys, time
workdir, name, mode = pathlib.Path(sys.argv[1]), *sys.argv[2:]
def stop(*_):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGUSR1, stop)
is_blocked = signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, [])
print(name, os.environ["ADDED"], "HOME" in os.environ, is_blocked, flush=True)
def leave(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
place = workdir / "points" / name
leave(place / "started")
while mode.startswith("wait") and not (workdir / "go").exists():
    time.sleep(0.01)
if mode.endswith("round"):
    leave(place / "metrics.jsonl")
if mode.endswith("evaluation"):
    leave(place / "evaluation.json")
while mode.startswith("wait") and not (workdir / "end").exists():
    time.sleep(0.01)
sys.exit(int(mode) if mode.isdecimal() else 0)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Replaces the workers by programs that start at once, and looks often."""
    replace_workers(monkeypatch, PROGRAM)
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0.02)


def make_worker(workdir, name, mode):
    return Worker(workdir, name, [name, mode], {"ADDED": "yes"}, read_progress(workdir))


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Playing:
    """A worker that plays in a thread, until the end of the context."""

    def __init__(self, made):
        self.made, self.exit_code = made, None

    def __enter__(self):
        self._thread = threading.Thread(target=self._play)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()

    def _play(self):
        self.exit_code = self.made.play()


def test_the_log_has_the_output_and_play_returns_the_exit_code(tmp_path):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert make_worker(tmp_path, "a", "0").play() == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == blocked  # the worker's alone changed
    assert make_worker(tmp_path, "a", "7").play() == 7
    assert (tmp_path / "logs" / "a.log").read_text() == "a yes True True\n" * 2


@pytest.mark.parametrize("sign", ["round", "evaluation"])
def test_the_others_start_once_the_first_has_played(sign, tmp_path):
    first, second = (make_worker(tmp_path, name, f"wait-{sign}") for name in "ab")
    with Playing(first), Playing(second):
        wait_for(lambda: [*tmp_path.glob("points/*/started")])
        wait_for(lambda: claims.read_owners(tmp_path / "claims"))
        time.sleep(0.2)
        assert len([*tmp_path.glob("points/*/started")]) == 1
        (tmp_path / "go").touch()
        wait_for(lambda: len([*tmp_path.glob("points/*/started")]) == 2)
        (tmp_path / "end").touch()
    assert claims.read_owners(tmp_path / "claims")["first_worker"].state == "released"


def test_a_first_worker_that_ends_gives_the_turn_to_the_next(tmp_path):
    (tmp_path / "end").touch()
    first, second = make_worker(tmp_path, "a", "9"), make_worker(tmp_path, "b", "0")
    with Playing(first) as one, Playing(second) as other:
        pass
    assert (one.exit_code, other.exit_code) == (9, 0)


def test_stop_lets_a_worker_save(tmp_path):
    with Playing(make_worker(tmp_path, "a", "wait")) as playing:
        wait_for(lambda: [*tmp_path.glob("points/*/started")])
        playing.made.stop()
    assert playing.exit_code == 143
    assert (tmp_path / "logs" / "a.log").read_text().endswith("saved\n")
    make_worker(tmp_path, "b", "wait").stop()  # it has not begun


def test_progress_is_a_round_or_an_evaluation_and_no_empty_file(tmp_path):
    def leave(name, text):
        path = tmp_path / "points" / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return read_progress(tmp_path)

    start = read_progress(tmp_path)
    assert start == Progress(0, 0)
    assert not leave("metrics.jsonl", "").is_beyond(start)
    rounds = leave("metrics.jsonl", "{}\n")
    assert rounds.is_beyond(start)
    assert not leave("metrics.jsonl", "").is_beyond(rounds)  # cut to its checkpoint
    assert leave("evaluation.json", "{}").is_beyond(rounds)
