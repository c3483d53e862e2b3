"""Mappings of a cohort's clients to the hardware.

A client function maps ``(shared, one client)`` to ``(contribution, output)``. Contributions are
*summed* over the cohort chunk by chunk, outputs are stacked to [M]: memory grows with the chunk,
not with M.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from fedjax_diffusion.federated.client import ClientInputs, SharedInputs
from fedjax_diffusion.types import PyTree

ClientFn = Callable[[SharedInputs, ClientInputs], tuple[PyTree, PyTree]]
"""``client_fn(shared, one) -> (contribution, output)``."""
ClientMap = Callable[[ClientFn, SharedInputs, ClientInputs], tuple[PyTree, PyTree]]
"""``client_map(client_fn, shared, cohort [M]) -> (summed contributions, outputs [M])``."""
_Tree = TypeVar("_Tree", bound=PyTree)

AXIS = "clients"
"""The mesh axis over which clients are sharded."""


class ClientError(RuntimeError):
    """An error of a client function in ``loop``; the message names the client."""


@dataclass(frozen=True)
class ClientMapping:
    """Settings of the mapping of a cohort's clients to the hardware.

    Attributes:
      name: one of

        - ``loop``: a Python loop without ``jit``, the oracle for debugging. If a client fails,
          ``ClientError`` names it.
        - ``map``: one client after the other in ``lax.scan``, with the memory of one client.
        - ``vmap``: all at once. Convolutions become grouped convolutions (weights per client).
        - ``chunked``: ``vmap`` over ``chunk_size`` clients, ``lax.scan`` over the chunks.
      chunk_size: >= 1, for ``chunked`` only.
      mesh: 1-D mesh with axis ``"clients"``: each device maps its share of the cohort, one
        all-reduce adds the sums. All-zero clients pad the cohort to a multiple of the devices.

    Raises:
      ValueError: an unknown name, a chunk size that is missing or not applicable, or ``loop``
        with a mesh.
    """

    name: str = "map"
    chunk_size: int | None = None
    mesh: Mesh | None = None

    def __post_init__(self):
        name, chunk_size = self.name, self.chunk_size
        if name not in CLIENT_MAPS:
            raise ValueError(f"client_map must be one of {', '.join(CLIENT_MAPS)}, got {name!r}")
        if (name == "chunked") != (chunk_size is not None):
            raise ValueError(
                f"chunk_size goes with client_map 'chunked', got {name!r}, {chunk_size}"
            )
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
        if name == "loop" and self.mesh is not None:
            raise ValueError("client_map 'loop' runs on one device; give no mesh")


def make_client_map(mapping: ClientMapping) -> ClientMap:
    """Returns the mapping as a function.

    All mappings agree up to the order of float32 sums, and codes as ``stochastic_quantize`` states.
    """
    if mapping.name == "chunked":
        return _shard(_make_chunked(mapping.chunk_size or 1), mapping.mesh)
    return _shard(CLIENT_MAPS[mapping.name], mapping.mesh)


def _loop(client_fn: ClientFn, shared: SharedInputs, cohort: ClientInputs) -> tuple[PyTree, PyTree]:
    results = []
    for m in range(cohort.client.shape[0]):
        one = jax.tree.map(lambda x, m=m: x[m], cohort)
        try:
            results.append(client_fn(shared, one))
        except Exception as error:
            raise ClientError(f"client {int(one.client)}: {error}") from error
    contributions, outputs = zip(*results, strict=True)
    return _sum(_stack(contributions)), _stack(outputs)


def _map(client_fn: ClientFn, shared: SharedInputs, cohort: ClientInputs) -> tuple[PyTree, PyTree]:
    def fold(total, one):
        contribution, output = client_fn(shared, one)
        return jax.tree.map(jnp.add, total, contribution), output

    client_fn = jax.jit(client_fn, inline=True)  # traced once, for its shapes and in the scan
    one = jax.tree.map(lambda x: x[0], cohort)
    shapes, _ = jax.eval_shape(client_fn, shared, one)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.scan(fold, zeros, cohort)


def _vmap(client_fn: ClientFn, shared: SharedInputs, cohort: ClientInputs) -> tuple[PyTree, PyTree]:
    contributions, outputs = jax.vmap(client_fn, in_axes=(None, 0))(shared, cohort)
    return _sum(contributions), outputs


def _make_chunked(chunk_size: int) -> ClientMap:
    def chunked(client_fn, shared, cohort):
        num_clients = cohort.client.shape[0]
        chunks = jax.tree.map(
            lambda x: x.reshape(-1, chunk_size, *x.shape[1:]), _pad(cohort, chunk_size)
        )
        total, outputs = _map(lambda s, chunk: _vmap(client_fn, s, chunk), shared, chunks)
        return total, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_clients], outputs)

    return chunked


CLIENT_MAPS: dict[str, ClientMap] = {
    "loop": _loop,
    "map": _map,
    "vmap": _vmap,
    "chunked": _make_chunked(1),
}
"""The mappings by name."""


def _shard(client_map: ClientMap, mesh: Mesh | None) -> ClientMap:
    """Returns the map with each device's share of the cohort on that device, and the sums added."""
    if mesh is None:
        return client_map

    def sharded(client_fn, shared, cohort):
        def on_one_device(shared, share):
            total, outputs = client_map(client_fn, shared, share)
            return jax.lax.psum(total, AXIS), outputs

        num_clients = cohort.client.shape[0]
        total, outputs = jax.shard_map(
            on_one_device,
            mesh=mesh,
            in_specs=(P(), P(AXIS)),
            out_specs=(P(), P(AXIS)),
            check_vma=False,  # scan carries start as replicated zeros
        )(shared, _pad(cohort, mesh.shape[AXIS]))
        return total, jax.tree.map(lambda x: x[:num_clients], outputs)

    return sharded


def _pad(cohort: _Tree, multiple: int) -> _Tree:
    """Appends all-zero clients until M is a multiple of ``multiple``."""
    return jax.tree.map(
        lambda x: jnp.pad(x, [(0, -x.shape[0] % multiple)] + [(0, 0)] * (x.ndim - 1)), cohort
    )


def _stack(trees: tuple[PyTree, ...]) -> PyTree:
    return jax.tree.map(lambda *xs: jnp.stack(xs), *trees)


def _sum(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x.sum(axis=0), tree)
