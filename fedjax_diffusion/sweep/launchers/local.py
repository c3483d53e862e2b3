"""Workers of a sweep on this machine: processes that each play open points on a part of it.

A worker has a GPU of its own, if there are any, and a part of the cores.

The folder hands out the work. A worker that dies loses its point's last rounds, and another one
takes the point over; if this process dies, the workers go on.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fedjax_diffusion.host.interruption import StoppedBySignal
from fedjax_diffusion.host.machine import (
    CUDA_PLUGIN,
    ROCM_PLUGIN,
    VISIBLE_GPUS,
    count_cores,
    has_gpu_plugin,
    list_gpus,
)
from fedjax_diffusion.sweep.launchers.launch import Launch
from fedjax_diffusion.sweep.launchers.worker import GOOD_ENDS, LOGS, read_progress, start_worker

_POLL_SECONDS = 0.2


def check(num_workers: int, settings: Mapping[str, Any]) -> None:
    """Raises ValueError if this machine has too few devices for a number of workers."""
    if settings:
        raise ValueError(f"--launcher=local has no settings, got {next(iter(settings))}")
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


def launch(order: Launch) -> int:
    """Starts workers, waits for all, and returns the number of those that died.

    The first one starts alone until it has played a round: the others then find the compiled
    programs in the cache. A request to stop is passed on to the workers, which save their state.

    Raises:
      StoppedBySignal: it was asked for, and the workers have ended.
    """
    workdir, interruption = order.workdir, order.interruption
    shares = _share_machine(order.num_workers)
    since = read_progress(workdir)
    workers = [_start(order, 1, shares[0])]
    interruption.on_second = lambda: [worker.kill() for worker in workers]
    while workers[0].poll() is None and not read_progress(workdir).is_beyond(since):
        if interruption.exit_code:
            break
        time.sleep(_POLL_SECONDS)
    if not interruption.exit_code:
        workers += [_start(order, number, share) for number, share in enumerate(shares[1:], 2)]
        order.tell(f"{order.num_workers} workers; their output: {workdir / LOGS}")
    while any(worker.poll() is None for worker in workers) and not interruption.exit_code:
        time.sleep(_POLL_SECONDS)
    if interruption.exit_code:
        for worker in workers:
            worker.terminate()
    exit_codes = [worker.wait() for worker in workers]
    if interruption.exit_code:
        raise StoppedBySignal(f"{workdir}: all workers have ended", interruption.exit_code)
    return sum(code not in GOOD_ENDS for code in exit_codes)


def _start(order: Launch, number: int, share: _Share) -> subprocess.Popen:
    """Starts a worker in a session of its own: a signal of the terminal reaches it once only."""
    environment = dict(os.environ)
    if share.gpu is not None:
        environment[VISIBLE_GPUS] = share.gpu
    elif share.cores is None:
        environment.setdefault("JAX_NUM_CPU_DEVICES", "1")
    process = start_worker(
        order.workdir, f"worker-{number}", order.flags, environment, has_own_session=True
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
