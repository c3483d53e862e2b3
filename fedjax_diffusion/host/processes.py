"""Several processes that compute one run together; one of them writes its files."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def join_processes(coordinator: str, num_processes: int, process_id: int) -> None:
    """Joins the run's other processes; call it before any other use of a JAX device.

    Args:
      coordinator: ``host:port`` of process 0, with a port that is free there.
      num_processes: their total number, >= 1.
      process_id: of this process, in 0..num_processes-1.

    Raises:
      ValueError: a number out of range, or an address that is not ``host:port``.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"coordinator must be host:port, got {coordinator!r}")
    if num_processes < 1:
        raise ValueError(f"num_processes must be at least 1, got {num_processes}")
    if not 0 <= process_id < num_processes:
        raise ValueError(f"process_id must be in 0..{num_processes - 1}, got {process_id}")
    jax.distributed.initialize(coordinator, num_processes, process_id)


def is_primary() -> bool:
    """Returns whether this process is the one that writes files and prints."""
    return jax.process_index() == 0


def is_alone() -> bool:
    """Returns whether no other process was joined; asks without starting JAX's devices."""
    return not jax.distributed.is_initialized()


def wait_for_all(what: str) -> None:
    """Waits until every process has called this with the same ``what``."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def agree(value: int) -> int:
    """Returns the first process's ``value`` in every process."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def find_largest(value: int) -> int:
    """Returns the largest of all processes' values, in every process."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.process_allgather(np.int32(value)).max())
