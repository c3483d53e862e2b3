"""Processing of many clients in chunks whose data fit into the processor's cache."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.types import Array

MAX_CHUNK_CLIENTS = 8192
"""Clients per chunk: enough for two cores to share each operation, few enough for the caches."""
T = TypeVar("T")


def map_chunks(fn: Callable[[AllocationProblem], T], problem: AllocationProblem) -> T:
    """Returns ``fn(problem)``, computed for one chunk of clients after another.

    Args:
      fn: processes each client independently; its results have the clients along the last axis.
      problem: more clients than fit into one chunk. The last chunk ends with the last client and
        repeats a few clients of the chunk before, so nothing is padded or copied.
    """
    num_clients = problem.num_clients
    num_chunks = -(-num_clients // MAX_CHUNK_CLIENTS)
    size = -(-num_clients // num_chunks)

    def take(start):
        return _per_client(
            problem, lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), num_clients
        )

    def run_chunk(number, whole):
        start = jnp.minimum(number * size, num_clients - size)
        return jax.tree.map(
            lambda x, part: jax.lax.dynamic_update_slice_in_dim(x, part, start, axis=x.ndim - 1),
            whole,
            fn(take(start)),
        )

    whole = jax.tree.map(
        lambda x: jnp.zeros((*x.shape[:-1], num_clients), x.dtype), jax.eval_shape(fn, take(0))
    )
    return jax.lax.fori_loop(0, num_chunks, run_chunk, whole)


def sample_clients(problem: AllocationProblem) -> tuple[AllocationProblem, float]:
    """Returns at most a chunk of clients, evenly spread, and their share of all clients."""
    num_clients = problem.num_clients
    stride = -(-num_clients // MAX_CHUNK_CLIENTS)
    sample = _per_client(problem, lambda leaf: leaf[::stride], num_clients)
    return sample, sample.num_clients / num_clients


def _per_client(
    problem: AllocationProblem, fn: Callable[[Array], Array], num_clients: int
) -> AllocationProblem:
    """Returns the problem with ``fn`` applied to the fields per client.

    They are known by their length: there are more clients than bit widths.
    """

    def change(leaf):
        return fn(leaf) if jnp.ndim(leaf) and leaf.shape[0] == num_clients else leaf

    return jax.tree.map(change, problem)
