"""Mappings of several runs to the hardware, in one program.

As ``client_map`` does for the clients of a cohort, but runs share nothing and nothing is summed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from fedjax_diffusion.types import PyTree

RunFn = Callable[[PyTree, PyTree], PyTree]
"""``run_fn(shared, one run) -> output``."""
RunMap = Callable[[RunFn, PyTree, PyTree], PyTree]
"""``run_map(run_fn, shared, runs [S]) -> outputs [S]``."""

RUN_AXIS = "runs"
"""The mesh axis over which runs are sharded."""
RUN_MAPS = ("map", "vmap", "chunked")


@dataclass(frozen=True)
class RunMapping:
    """Settings of the mapping of S runs to the hardware, in one program.

    Attributes:
      name: one of

        - ``map``: one run after the other in ``lax.scan``. A run without participants takes no
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
      Each output is that of ``run_fn`` alone, up to the order of float32 sums.
    """
    run_maps = {"map": _map, "vmap": _vmap, "chunked": _make_chunked(mapping.chunk_size or 1)}
    return _shard(run_maps[mapping.name], mapping.mesh)


def _map(run_fn: RunFn, shared: PyTree, runs: PyTree) -> PyTree:
    return jax.lax.map(lambda one: run_fn(shared, one), runs)


def _vmap(run_fn: RunFn, shared: PyTree, runs: PyTree) -> PyTree:
    return jax.vmap(run_fn, in_axes=(None, 0))(shared, runs)


def _make_chunked(chunk_size: int) -> RunMap:
    def chunked(run_fn: RunFn, shared: PyTree, runs: PyTree) -> PyTree:
        _check_divides(chunk_size, runs, "chunk_size")
        return jax.lax.map(lambda one: run_fn(shared, one), runs, batch_size=chunk_size)

    return chunked


def _shard(run_map: RunMap, mesh: Mesh | None) -> RunMap:
    """Returns the map with each device's share of the runs on that device."""
    if mesh is None:
        return run_map

    def sharded(run_fn: RunFn, shared: PyTree, runs: PyTree) -> PyTree:
        _check_divides(mesh.shape[RUN_AXIS], runs, "the number of devices")
        return jax.shard_map(
            lambda shared, share: run_map(run_fn, shared, share),
            mesh=mesh,
            in_specs=(P(), P(RUN_AXIS)),
            out_specs=P(RUN_AXIS),
            check_vma=False,  # scan carries start as replicated zeros
        )(shared, runs)

    return sharded


def _check_divides(divisor: int, runs: PyTree, what: str) -> None:
    num_runs = jax.tree.leaves(runs)[0].shape[0]
    if num_runs % divisor:
        raise ValueError(f"{what}, {divisor}, must divide the number of runs, {num_runs}")
