"""Workers on this machine: as many as it has cores, each on its own."""

import os
import re
import subprocess
import sys
import threading
import time

import pytest

from fedjax_diffusion.host.interruption import Interruption, StoppedBySignal
from fedjax_diffusion.host.machine import count_cores
from fedjax_diffusion.sweep import launcher
from fedjax_diffusion.sweep.launcher import check_workers, launch_workers
from tests.sweep.stubs import make_sweep

WORKER = """
import os, signal, sys, time
from pathlib import Path
workdir, mode, place = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[1]) / "points" / "p"
place.mkdir(parents=True, exist_ok=True)
time.sleep(0.1)  # until it is bound to its cores
with (place / "metrics.jsonl").open("a") as file:
    print(sorted(os.sched_getaffinity(0)), time.time(), file=file)
if mode == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "wait":
    time.sleep(60)
"""


@pytest.fixture
def started(monkeypatch):
    """Replaces the workers by programs that start at once."""
    popen = subprocess.Popen

    def start(command, **options):
        assert command[1:4] == ["-m", "fedjax_diffusion", "sweep"]
        workdir = command[4].removeprefix("--workdir=")
        assert command[5] == "--worker"
        return popen([sys.executable, "-c", WORKER, workdir, *command[6:]], **options)

    monkeypatch.setattr(subprocess, "Popen", start)


def launch(workdir, number, mode, interruption=None):
    interruption = interruption or Interruption()
    return launch_workers(workdir, number, [mode], tell=print, interruption=interruption)


needs_cores = pytest.mark.skipif(count_cores() < 2, reason="one core")


@needs_cores
def test_workers_share_the_cores_and_the_first_starts_alone(started, tmp_path, capsys):
    make_sweep(tmp_path)
    assert launch(tmp_path, 2, "end") == 0
    lines = (tmp_path / "points" / "p" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2
    cores = [set(re.findall(r"\d+", line.partition("]")[0])) for line in lines]
    assert not cores[0] & cores[1]
    assert len(cores[0] | cores[1]) == count_cores()
    assert "2 workers; their output" in capsys.readouterr().out
    assert len(list((tmp_path / "logs").iterdir())) == 2


@needs_cores
def test_dead_workers_are_counted(started, tmp_path):
    make_sweep(tmp_path)
    assert launch(tmp_path, 2, "die") == 2


def test_a_request_to_stop_is_passed_on(started, tmp_path):
    make_sweep(tmp_path)
    interruption = Interruption()

    def ask():
        time.sleep(0.5)
        interruption.exit_code = 143

    threading.Thread(target=ask).start()
    with pytest.raises(StoppedBySignal, match="all workers have ended"):
        launch(tmp_path, 1, "wait", interruption)


def test_more_workers_than_devices_are_refused(monkeypatch):
    for number in (0, count_cores() + 1):
        with pytest.raises(ValueError, match=rf"--workers must be in 1..{count_cores()}"):
            check_workers(number)
    monkeypatch.setattr(launcher, "has_gpu_plugin", lambda: True)
    monkeypatch.setitem(os.environ, "JAX_PLATFORMS", "")
    with pytest.raises(ValueError, match="start one worker each"):
        check_workers(1)
