"""Mappings of several runs to the hardware, in one program.

As ``client_map`` does for the clients of a cohort, but runs share nothing and nothing is summed.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.lax import dynamic_index_in_dim, dynamic_update_index_in_dim
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from fedjax_diffusion.types import Array, PyTree

RunFn = Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]
"""``run_fn(shared, state, one run) -> (state, output)``."""
RunMap = Callable[[RunFn, PyTree, Array, PyTree, PyTree], tuple[PyTree, PyTree]]
"""``run_map(run_fn, shared, is_asked [S], states [S], runs [S]) -> (states [S], outputs [S])``.

A run that is not asked for keeps its state, and its outputs are zeros.
"""

RUN_AXIS = "runs"
"""The mesh axis over which runs are sharded."""
RUN_MAPS = ("map", "vmap", "chunked")


@dataclass(frozen=True)
class RunMapping:
    """Settings of the mapping of S runs to the hardware, in one program.

    Attributes:
      name: one of

        - ``map``: one run after the other in ``lax.scan``. A run that is not asked for takes no
          time. It is not bitwise the single run: XLA's CPU code differs by 1e-9 after three
          rounds, also for S = 1.
        - ``vmap``: all runs of a device at once.
        - ``chunked``: ``vmap`` over ``chunk_size`` runs, ``lax.scan`` over the chunks.
      chunk_size: >= 1, for ``chunked`` only; it divides the runs of a device.
      mesh: 1-D mesh with axis ``"runs"``: each device maps its share of the runs, and no device
        waits for another. It divides S.

    Raises:
      ValueError: an unknown name, or a chunk size that is missing or not applicable.
    """

    name: str = "map"
    chunk_size: int | None = None
    mesh: Mesh | None = None

    def __post_init__(self):
        name, chunk_size = self.name, self.chunk_size
        if name not in RUN_MAPS:
            raise ValueError(f"the mapping of runs must be one of {', '.join(RUN_MAPS)}: {name!r}")
        if (name == "chunked") != (chunk_size is not None) or chunk_size == 0:
            raise ValueError(f"chunk_size goes with 'chunked' and is at least 1: {chunk_size}")


def make_run_map(mapping: RunMapping) -> RunMap:
    """Returns the mapping as a function.

    Its functions raise ValueError if S is not a multiple of the devices and the chunk size.

    Guarantees:
      Each state and output is that of ``run_fn`` alone, up to the order of float32 sums. A loop
      over donated states writes each of them in its place: there is no second copy of them.
    """
    run_maps = {"map": _map, "vmap": _vmap, "chunked": _make_chunked(mapping.chunk_size or 1)}
    return _shard(run_maps[mapping.name], mapping.mesh)


def _map(
    run_fn: RunFn, shared: PyTree, is_asked: Array, states: PyTree, runs: PyTree
) -> tuple[PyTree, PyTree]:
    def play(states: PyTree, turn: tuple[Array, Array, PyTree]) -> tuple[PyTree, PyTree]:
        n, is_asked, one = turn
        state = jax.tree.map(lambda x: dynamic_index_in_dim(x, n, keepdims=False), states)
        state, output = _play_if_asked(run_fn, shared, is_asked, state, one)
        replace = functools.partial(dynamic_update_index_in_dim, index=n, axis=0)
        return jax.tree.map(replace, states, state), output

    return jax.lax.scan(play, states, (jnp.arange(len(is_asked)), is_asked, runs))


def _vmap(
    run_fn: RunFn, shared: PyTree, is_asked: Array, states: PyTree, runs: PyTree
) -> tuple[PyTree, PyTree]:
    return jax.vmap(functools.partial(_play_if_asked, run_fn, shared))(is_asked, states, runs)


def _make_chunked(chunk_size: int) -> RunMap:
    def chunked(
        run_fn: RunFn, shared: PyTree, is_asked: Array, states: PyTree, runs: PyTree
    ) -> tuple[PyTree, PyTree]:
        def play_chunk(shared: PyTree, states: PyTree, chunk: tuple) -> tuple[PyTree, PyTree]:
            return _vmap(run_fn, shared, chunk[0], states, chunk[1])

        def split(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda x: x.reshape(-1, chunk_size, *x.shape[1:]), tree)

        _check_divides(chunk_size, len(is_asked), "chunk_size")
        asked, chunks = split(is_asked), split(states)
        played = _map(play_chunk, shared, asked.any(axis=1), chunks, (asked, split(runs)))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), played)

    return chunked


def _play_if_asked(
    run_fn: RunFn, shared: PyTree, is_asked: Array, state: PyTree, one: PyTree
) -> tuple[PyTree, PyTree]:
    """Returns the next state and the output of a run; its own state and zeros if it has no turn.

    The condition also keeps the run's reads of its state before the loop's write. Without it XLA
    merges some of them into later operations, and copies the states of all runs for these.
    """
    run_fn = jax.jit(run_fn)  # traced once
    _, shapes = jax.eval_shape(run_fn, shared, state, one)

    def skip(_: PyTree, state: PyTree, one: PyTree) -> tuple[PyTree, PyTree]:
        return state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    return jax.lax.cond(is_asked, run_fn, skip, shared, state, one)


def _shard(run_map: RunMap, mesh: Mesh | None) -> RunMap:
    """Returns the map with each device's share of the runs on that device."""
    if mesh is None:
        return run_map

    def sharded(
        run_fn: RunFn, shared: PyTree, is_asked: Array, states: PyTree, runs: PyTree
    ) -> tuple[PyTree, PyTree]:
        _check_divides(mesh.shape[RUN_AXIS], len(is_asked), "the number of devices")
        return jax.shard_map(
            functools.partial(run_map, run_fn),
            mesh=mesh,
            in_specs=(P(), *[P(RUN_AXIS)] * 3),
            out_specs=P(RUN_AXIS),
            check_vma=False,  # scan carries start as replicated zeros
        )(shared, is_asked, states, runs)

    return sharded


def _check_divides(divisor: int, num_runs: int, what: str) -> None:
    if num_runs % divisor:
        raise ValueError(f"{what}, {divisor}, must divide the number of runs, {num_runs}")
