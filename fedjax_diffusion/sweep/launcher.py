"""Workers of a sweep on this machine: processes that each play open points on a part of it.

A worker has a GPU of its own, if there are any, and a part of the cores.

The folder hands out the work. A worker that dies loses its point's last rounds, and another one
takes the point over; if this process dies, the workers go on.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fedjax_diffusion.host.interruption import Interruption, StoppedBySignal
from fedjax_diffusion.host.machine import (
    CUDA_PLUGIN,
    ROCM_PLUGIN,
    VISIBLE_GPUS,
    count_cores,
    has_gpu_plugin,
    list_gpus,
)
from fedjax_diffusion.runs.records import METRICS
from fedjax_diffusion.sweep.listing import POINTS

LOGS = "logs"
_POLL_SECONDS = 0.2
_GOOD_ENDS = (0, 1)
"""Exit codes of a worker that played all it could; 1: a point failed, which its folder says."""


def check_workers(num_workers: int) -> None:
    """Raises ValueError if this machine has too few devices for a number of workers."""
    if has_gpu_plugin((ROCM_PLUGIN,)) and not _is_cpu_asked():
        raise ValueError(
            "--launcher=local shares out NVIDIA GPUs and CPU cores; for other GPUs start one "
            "worker each: HIP_VISIBLE_DEVICES=0 fedjax-diffusion sweep --workdir=... --worker"
        )
    gpus = _find_gpus()
    limit, what = (len(gpus), "GPUs") if gpus else (count_cores(), "cores")
    if not 1 <= num_workers <= limit:
        raise ValueError(
            f"--workers must be in 1..{limit}, the {what} of this machine, got {num_workers}"
        )


class _Share(NamedTuple):
    """The part of the machine that a worker has.

    Attributes:
      cores: their numbers; None: all.
      gpu: the name of its GPU; None: those of this process, or none.
    """

    cores: Sequence[int] | None
    gpu: str | None


def launch_workers(
    workdir: Path,
    num_workers: int,
    flags: Sequence[str],
    *,
    tell: Callable[[str], object],
    interruption: Interruption,
) -> int:
    """Starts workers, waits for all, and returns the number of those that died.

    The first one starts alone until it has played a round: the others then find the compiled
    programs in the cache.

    Args:
      workdir: the folder of the sweep.
      num_workers: number of processes.
      flags: arguments for each of them.
      tell: shows a line.
      interruption: passed on to the workers, which save their state.

    Raises:
      StoppedBySignal: ``interruption`` asked for it, and the workers have ended.
    """
    shares = _share_machine(num_workers)
    rounds_before = _count_begun(workdir)
    workers = [_start_worker(workdir, 1, shares[0], flags)]
    interruption.on_second = lambda: [worker.kill() for worker in workers]
    while workers[0].poll() is None and _count_begun(workdir) <= rounds_before:
        if interruption.exit_code:
            break
        time.sleep(_POLL_SECONDS)
    if not interruption.exit_code:
        for number, share in enumerate(shares[1:], 2):
            workers.append(_start_worker(workdir, number, share, flags))
        tell(f"{num_workers} workers; their output: {workdir / LOGS}")
    while any(worker.poll() is None for worker in workers) and not interruption.exit_code:
        time.sleep(_POLL_SECONDS)
    if interruption.exit_code:
        for worker in workers:
            worker.terminate()
    exit_codes = [worker.wait() for worker in workers]
    if interruption.exit_code:
        raise StoppedBySignal(f"{workdir}: all workers have ended", interruption.exit_code)
    return sum(code not in _GOOD_ENDS for code in exit_codes)


def _start_worker(
    workdir: Path, number: int, share: _Share, flags: Sequence[str]
) -> subprocess.Popen:
    """Starts a worker in a session of its own: a signal of the terminal reaches it once only."""
    command = [sys.executable, "-m", "fedjax_diffusion", "sweep", f"--workdir={workdir}"]
    (workdir / LOGS).mkdir(exist_ok=True)
    environment = dict(os.environ)
    if share.gpu is not None:
        environment[VISIBLE_GPUS] = share.gpu
    elif share.cores is None:
        environment.setdefault("JAX_NUM_CPU_DEVICES", "1")
    with (workdir / LOGS / f"worker-{number}.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--worker", *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    if share.cores is not None:
        os.sched_setaffinity(process.pid, share.cores)  # its threads are started later
    return process


def _share_machine(num_workers: int) -> list[_Share]:
    """Returns the part of each worker, without cores where they are too few or cannot be bound."""
    gpus = _find_gpus() or [None] * num_workers
    can_bind = hasattr(os, "sched_getaffinity") and count_cores() >= num_workers
    cores = sorted(os.sched_getaffinity(0)) if can_bind else None
    return [
        _Share(None if cores is None else cores[number::num_workers], gpus[number])
        for number in range(num_workers)
    ]


def _find_gpus() -> list[str]:
    """Returns the GPUs that JAX would use in this process."""
    return list_gpus() if has_gpu_plugin((CUDA_PLUGIN,)) and not _is_cpu_asked() else []


def _is_cpu_asked() -> bool:
    return os.environ.get("JAX_PLATFORMS") == "cpu"


def _count_begun(workdir: Path) -> int:
    """Returns the bytes of all rounds that were played so far."""
    return sum(path.stat().st_size for path in (workdir / POINTS).glob(f"*/{METRICS}"))
