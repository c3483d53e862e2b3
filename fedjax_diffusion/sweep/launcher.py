"""Workers of a sweep on this machine: processes that each play open points on a part of its cores.

The folder hands out the work. A worker that dies loses its point's last rounds, and another one
takes the point over; if this process dies, the workers go on.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fedjax_diffusion.host.interruption import Interruption, StoppedBySignal
from fedjax_diffusion.host.machine import count_cores, has_gpu_plugin
from fedjax_diffusion.runs.records import METRICS
from fedjax_diffusion.sweep.listing import POINTS

LOGS = "logs"
_POLL_SECONDS = 0.2
_GOOD_ENDS = (0, 1)
"""Exit codes of a worker that played all it could; 1: a point failed, which its folder says."""


def check_workers(num_workers: int) -> None:
    """Raises ValueError if this machine has too few devices for a number of workers."""
    if has_gpu_plugin() and os.environ.get("JAX_PLATFORMS") != "cpu":
        raise ValueError(
            "--launcher=local shares out CPU cores; for GPUs start one worker each: "
            "CUDA_VISIBLE_DEVICES=0 fedjax-diffusion sweep --workdir=... --worker"
        )
    if not 1 <= num_workers <= count_cores():
        raise ValueError(
            f"--workers must be in 1..{count_cores()}, the cores of this machine, got {num_workers}"
        )


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
    shares = _share_cores(num_workers)
    rounds_before = _count_begun(workdir)
    workers = [_start_worker(workdir, 1, shares[0], flags)]
    interruption.on_second = lambda: [worker.kill() for worker in workers]
    while workers[0].poll() is None and _count_begun(workdir) <= rounds_before:
        if interruption.exit_code:
            break
        time.sleep(_POLL_SECONDS)
    if not interruption.exit_code:
        for number, cores in enumerate(shares[1:], 2):
            workers.append(_start_worker(workdir, number, cores, flags))
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
    workdir: Path, number: int, cores: Sequence[int] | None, flags: Sequence[str]
) -> subprocess.Popen:
    """Starts a worker in a session of its own: a signal of the terminal reaches it once only."""
    command = [sys.executable, "-m", "fedjax_diffusion", "sweep", f"--workdir={workdir}"]
    (workdir / LOGS).mkdir(exist_ok=True)
    environment = dict(os.environ)
    if cores is None:
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
    if cores is not None:
        os.sched_setaffinity(process.pid, cores)  # its threads are started later
    return process


def _share_cores(num_workers: int) -> list[Sequence[int] | None]:
    """Returns the cores of each worker; None where a system cannot bind processes to cores."""
    if not hasattr(os, "sched_getaffinity"):
        return [None] * num_workers
    cores = sorted(os.sched_getaffinity(0))
    return [cores[number::num_workers] for number in range(num_workers)]


def _count_begun(workdir: Path) -> int:
    """Returns the bytes of all rounds that were played so far."""
    return sum(path.stat().st_size for path in (workdir / POINTS).glob(f"*/{METRICS}"))
