"""Workers on this machine: as many as it has cores, each on its own."""

import os
import re
import threading
import time

import pytest

from fedjax_diffusion.host.interruption import Interruption, StoppedBySignal
from fedjax_diffusion.host.machine import count_cores, list_gpus
from fedjax_diffusion.sweep.launchers import local
from fedjax_diffusion.sweep.launchers.launch import Launch
from fedjax_diffusion.sweep.launchers.local import check
from tests.sweep.launchers.stand_ins import replace_workers
from tests.sweep.stubs import make_sweep

WORKER = """
import os, signal, sys, time
from pathlib import Path
workdir, mode, place = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[1]) / "points" / "p"
place.mkdir(parents=True, exist_ok=True)
time.sleep(0.1)  # until it is bound to its cores
with (place / "metrics.jsonl").open("a") as file:
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
    print(sorted(os.sched_getaffinity(0)), time.time(), gpus, file=file)
if mode == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "wait":
    time.sleep(60)
"""


@pytest.fixture
def started(monkeypatch):
    """Replaces the workers by programs that start at once."""
    replace_workers(monkeypatch, WORKER)


def launch(workdir, number, mode, interruption=None):
    interruption = interruption or Interruption()
    return local.launch(Launch(workdir, number, [mode], {}, print, interruption))


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
            check(number, {})
    monkeypatch.setattr(local, "has_gpu_plugin", lambda prefixes: "xla_rocm" in prefixes)
    monkeypatch.setitem(os.environ, "JAX_PLATFORMS", "")
    with pytest.raises(ValueError, match="start one worker each"):
        check(1, {})


@pytest.fixture
def three_gpus(monkeypatch):
    """Names three GPUs in the environment, for a JAX that has a plugin for them."""
    monkeypatch.setattr(local, "has_gpu_plugin", lambda prefixes: "xla_cuda" in prefixes)
    monkeypatch.setitem(os.environ, "JAX_PLATFORMS", "")
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "2, 0,GPU-5f")


def test_each_worker_has_a_gpu_of_its_own(started, three_gpus, tmp_path):
    make_sweep(tmp_path)
    check(3, {})
    with pytest.raises(ValueError, match=r"--workers must be in 1..3, the GPUs of this machine"):
        check(4, {})
    assert launch(tmp_path, 3, "end") == 0
    lines = (tmp_path / "points" / "p" / "metrics.jsonl").read_text().splitlines()
    assert sorted(line.rpartition(" ")[2] for line in lines) == ["0", "2", "GPU-5f"]


def test_without_visible_gpus_the_cores_are_shared_out(three_gpus, monkeypatch):
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ValueError, match=rf"1..{count_cores()}, the cores"):
        check(count_cores() + 1, {})


def test_gpus_are_counted_by_their_device_files(monkeypatch, tmp_path):
    monkeypatch.delitem(os.environ, "CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert list_gpus(tmp_path) == ["0", "1"]
    assert list_gpus(tmp_path / "nowhere") == []
