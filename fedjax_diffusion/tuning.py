"""Choosing by trying out: what is tried, when that pays, and how it is timed."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from fedjax_diffusion.processes import agree

_REPEATS = 3
_LONG_RUN_FLOPS = 1e14
"""A run on a CPU below this, some ten minutes on two cores, is over before a trial pays."""
_CHUNK_SIZES = (4, 16, 64)


Trial = Callable[[], object]
"""Runs something once and returns its arrays; the first call compiles."""


class Candidate(NamedTuple):
    """A way to map clients: the name and chunk size of ``make_client_map``."""

    client_map: str
    chunk_size: int | None = None


def is_worth_measuring(training_flops: float, platform: str) -> bool:
    """Returns whether trials, each a compilation and a few steps, are short beside the run.

    Args:
      training_flops: of all local steps of the run.
      platform: of the devices. On a CPU ``map`` is what won in all our measurements, and only long
        runs look again; on others nothing is known beforehand.
    """
    return platform != "cpu" or training_flops > _LONG_RUN_FLOPS


def list_candidates(
    clients_per_device: int, bytes_per_client: float, memory_bytes: float
) -> list[Candidate]:
    """Returns the mappings that fit into half of a device's memory; ``map`` always does.

    Args:
      clients_per_device: of a cohort, >= 1.
      bytes_per_client: an upper bound of what the training of one client keeps.
      memory_bytes: of the device.

    >>> [c.chunk_size for c in list_candidates(10, 1e6, 1e9)]
    [None, 4, None]
    """
    fitting = int(memory_bytes / 2 // max(bytes_per_client, 1.0))
    sizes = [size for size in _CHUNK_SIZES if size < clients_per_device and size <= fitting]
    candidates = [Candidate("map"), *(Candidate("chunked", size) for size in sizes)]
    if 1 < clients_per_device <= fitting:
        candidates.append(Candidate("vmap"))
    return candidates


def time_in_turn(makers: Sequence[Callable[[], Trial]]) -> list[float]:
    """Returns the seconds of each trial, medians, the trials taking turns.

    Args:
      makers: each returns its trial.

    Returns:
      As many numbers; infinite for a trial that runs out of the device's memory.
    """
    trials = [_warm_up(make) for make in makers]
    seconds: list[list[float]] = [[] for _ in trials]
    for _ in range(_REPEATS):
        for trial, times in zip(trials, seconds, strict=True):
            start = time.perf_counter()
            if trial is not None:
                jax.block_until_ready(trial())
            times.append(math.inf if trial is None else time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def _warm_up(make: Callable[[], Trial]) -> Trial | None:
    """Returns the trial, compiled; None if it does not fit into the device's memory."""
    try:
        trial = make()
        jax.block_until_ready(trial())
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None
    return trial


def fastest(seconds: Sequence[float]) -> int:
    """Returns the place of the least, the same one in every process."""
    return agree(min(range(len(seconds)), key=seconds.__getitem__))
