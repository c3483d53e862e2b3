"""Time limit of the trials of compute settings, and the mappings to try."""

from typing import NamedTuple

_SHARE = 0.05
"""Share of a run's expected time that trials may take."""
_LEAST_SECONDS = 20.0
"""Least time in seconds for trials to begin: below, compilation would take most of it."""
_TYPICAL_FLOPS = {"cpu": 2.5e11, "gpu": 2e13, "tpu": 2e13}
"""FLOPs per second of training, to estimate the time of a run before any measurement. On a CPU,
trials are worthwhile for runs of 1e14 FLOPs or more, about ten minutes on two cores."""
_CHUNK_SIZES = (4, 16, 64)


class Candidate(NamedTuple):
    """A mapping of clients: the name and chunk size of ``make_client_map``."""

    client_map: str
    chunk_size: int | None = None


def share_of_run(training_flops: float, platform: str) -> float:
    """Returns the seconds of a run that trials may take; 0 if they are not worthwhile.

    Args:
      training_flops: of all local steps of the run, on one device.
      platform: as in ``jax.default_backend()``.

    >>> share_of_run(1e13, "cpu"), share_of_run(1e14, "cpu"), share_of_run(1e14, "gpu")
    (0.0, 20.0, 0.0)
    """
    expected = training_flops / _TYPICAL_FLOPS.get(platform, _TYPICAL_FLOPS["gpu"])
    share = _SHARE * expected
    return share if share >= _LEAST_SECONDS else 0.0


def list_candidates(
    clients_per_device: int, bytes_per_client: float, memory_bytes: float
) -> list[Candidate]:
    """Returns the mappings that fit into half of a device's memory; ``map`` always does.

    Args:
      clients_per_device: clients of a cohort on one device, >= 1.
      bytes_per_client: memory of the training of one client.
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
