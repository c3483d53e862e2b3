"""One client's codes and values are the same, bit for bit, however clients are mapped."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from fedjax_diffusion.quantization import make_grid, stochastic_quantize, tree_to_blocks
from fedjax_diffusion.quantization.stochastic import draw_codes

NUM_CLIENTS = 8
BITS = np.array([1, 2, 3, 5, 8, 12, 16, 32], np.int32)


def client(one):
    key, tree, num_bits = one
    blocks = tree_to_blocks(tree)
    codes = draw_codes(key, blocks, make_grid(blocks, tree, num_bits), tree)
    return codes, stochastic_quantize(key, tree, num_bits)


def in_chunks(cohort):
    chunks = jax.tree.map(lambda x: x.reshape(2, NUM_CLIENTS // 2, *x.shape[1:]), cohort)
    results = jax.lax.map(jax.vmap(client), chunks)
    return jax.tree.map(lambda x: x.reshape(NUM_CLIENTS, *x.shape[2:]), results)


def one_by_one(cohort):
    return jax.lax.map(client, cohort)


def over_devices(mapping):
    mesh = jax.make_mesh((NUM_CLIENTS,), ("clients",), axis_types=(AxisType.Auto,))
    return jax.shard_map(mapping, mesh=mesh, in_specs=P("clients"), out_specs=P("clients"))


MAPPINGS = {
    "vmap": jax.vmap(client),
    "lax.map": one_by_one,
    "chunks": in_chunks,
    "devices, lax.map": over_devices(one_by_one),
    "devices, vmap": over_devices(jax.vmap(client)),
}


@functools.cache
def cohort():
    """Returns keys, trees and bits of 8 clients; ranges from offset to tiny."""
    shapes = {"kernel": (9, 70), "bias": (5,), "offset": (300,), "empty": (0, 2), "scalar": ()}
    scales = {"kernel": 1.0, "bias": 1e-30, "offset": 0.01, "empty": 1.0, "scalar": 1.0}
    rng = np.random.default_rng(0)
    trees = {
        name: jnp.asarray(
            scales[name] * rng.normal(size=(NUM_CLIENTS, *shape)) + (name == "offset"), jnp.float32
        )
        for name, shape in shapes.items()
    }
    return jax.random.split(jax.random.key(0), NUM_CLIENTS), trees, jnp.asarray(BITS)


@functools.cache
def in_a_loop():
    """Returns the oracle: one client after the other, each in a call of its own."""
    clients = [jax.tree.map(lambda x, m=m: x[m], cohort()) for m in range(NUM_CLIENTS)]
    return jax.tree.map(lambda *xs: np.stack(xs), *map(jax.jit(client), clients))


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_codes_and_values_do_not_depend_on_the_mapping(mapping):
    mapped = jax.jit(MAPPINGS[mapping])(cohort())
    jax.tree.map(np.testing.assert_array_equal, mapped, in_a_loop())
