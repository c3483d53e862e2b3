"""Many clients, a chunk at a time: what one chunk needs stays in the processor's cache."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.types import Array

MAX_CHUNK_CLIENTS = 8192
"""Enough for two cores to share each operation, and few enough for their caches."""
T = TypeVar("T")


def map_chunks(fn: Callable[[AllocationProblem], T], problem: AllocationProblem) -> T:
    """Returns ``fn(problem)``, computed for one chunk of the clients after the other.

    Args:
      fn: treats every client by itself; its results have the clients along their last axis.
      problem: more clients than fit into one chunk. The last chunk ends with the last client and
        repeats a few of the one before, so nothing is padded and nothing copied.
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
    """Returns at most a chunk of the clients, evenly spread, and which share of all they are."""
    num_clients = problem.num_clients
    stride = -(-num_clients // MAX_CHUNK_CLIENTS)
    sample = _per_client(problem, lambda leaf: leaf[::stride], num_clients)
    return sample, sample.num_clients / num_clients


def _per_client(
    problem: AllocationProblem, fn: Callable[[Array], Array], num_clients: int
) -> AllocationProblem:
    """Returns the problem with ``fn`` applied to what is as long as there are clients.

    Nothing else is: there are more clients than bit widths.
    """

    def change(leaf):
        return fn(leaf) if jnp.ndim(leaf) and leaf.shape[0] == num_clients else leaf

    return jax.tree.map(change, problem)
