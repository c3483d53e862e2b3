"""One client's codes and values are the same, bit for bit, however clients are mapped."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from fedjax_diffusion.quantization import QUANTIZERS, quantize, tree_to_blocks
from fedjax_diffusion.quantization.blocks import row_tensors
from tests.quantization.uploads import LIKE, jit_quantize, like_to_blocks, make_tree

pytestmark = pytest.mark.optimized  # codes are promised to the bit

NUM_CLIENTS = 8
BITS = np.array([1, 2, 3, 5, 8, 12, 16, 32], np.int32)

make_keys = jax.jit(jax.vmap(jax.random.key))


def client(one):
    key, tree, num_bits = one
    sent = quantize(QUANTIZERS["stochastic"], key, tree_to_blocks(tree), tree, num_bits)
    return sent.codes, sent.decoded, sent.grid


def in_chunks(cohort):
    chunks = jax.tree.map(lambda x: x.reshape(2, NUM_CLIENTS // 2, *x.shape[1:]), cohort)
    results = jax.lax.map(jax.vmap(client), chunks)
    return jax.tree.map(lambda x: x.reshape(NUM_CLIENTS, *x.shape[2:]), results)


def on_devices(mapping, num_devices):
    mesh = jax.make_mesh((num_devices,), ("clients",), axis_types=(AxisType.Auto,))
    options = {"in_specs": P("clients"), "out_specs": P("clients"), "check_vma": False}
    return jax.shard_map(mapping, mesh=mesh, **options)


MAPPINGS = {
    "vmap": jax.vmap(client),
    "chunks": in_chunks,
    "devices, lax.map": on_devices(lambda cohort: jax.lax.map(client, cohort), 4),
}
"""Devices with ``vmap`` are in the test of the other quantizers."""


@functools.cache
def cohort():
    """Returns keys, trees and bits of 8 clients; ranges from offset to tiny."""
    shapes = {"kernel": (9, 70), "bias": (5,), "offset": (300,), "empty": (0, 2), "scalar": ()}
    scales = {"kernel": 1.0, "bias": 1e-30, "offset": 0.01, "empty": 1.0, "scalar": 1.0}
    rng = np.random.default_rng(0)
    trees = {
        name: np.float32(scales[name] * rng.normal(size=(NUM_CLIENTS, *shape)) + (name == "offset"))
        for name, shape in shapes.items()
    }
    return make_keys(np.arange(NUM_CLIENTS)), trees, BITS


@functools.cache
def in_a_loop():
    """Returns the oracle: one client after the other, each in a call of its own."""
    _, trees, bits = cohort()
    jit_client = jax.jit(client)
    sent = [
        jit_client((jax.random.key(m), jax.tree.map(lambda x, m=m: x[m], trees), bits[m]))
        for m in range(NUM_CLIENTS)
    ]
    return jax.tree.map(lambda *xs: np.stack(xs), *sent)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_codes_and_values_do_not_depend_on_the_mapping(mapping):
    mapped = jax.jit(MAPPINGS[mapping])(cohort())
    jax.tree.map(np.testing.assert_array_equal, mapped, in_a_loop())


@pytest.mark.parametrize(
    ("name", "bits_per_tensor"), [("nearest", False), ("rotated", False), ("qsgd", True)]
)
def test_is_the_same_in_a_loop_a_batch_and_on_many_devices(name, bits_per_tensor):
    """To the bit, but for the order of the sum in QSGD's norm: its step may round up once more."""
    one = jit_quantize(name, bits_per_tensor)
    blocks = np.stack([like_to_blocks(make_tree("normal", seed)) for seed in range(NUM_CLIENTS)])
    looped = [one(jax.random.key(m), blocks[m], BITS[m]) for m in range(NUM_CLIENTS)]
    looped = jax.tree.map(lambda *leaves: np.stack(leaves), *looped)
    quantizer = functools.partial(
        quantize, QUANTIZERS[name], like=LIKE, bits_per_tensor=bits_per_tensor
    )
    batched = jax.vmap(lambda key, x, b: quantizer(key=key, blocks=x, num_bits=b))
    result = jax.jit(on_devices(batched, 2))(make_keys(np.arange(NUM_CLIENTS)), blocks, BITS)
    np.testing.assert_array_equal(result.grid.num_bits, looped.grid.num_bits)
    np.testing.assert_array_equal(result.seed, looped.seed)
    np.testing.assert_allclose(result.bit_width_error, looped.bit_width_error, rtol=1e-5)
    np.testing.assert_allclose(result.error_bound, looped.error_bound, rtol=1e-4)
    if name == "qsgd":
        np.testing.assert_allclose(result.grid.step, looped.grid.step, rtol=2.0**-7)
        assert np.mean(np.asarray(result.codes) != looped.codes) <= 1e-3
    else:
        jax.tree.map(np.testing.assert_array_equal, result.grid, looped.grid)
        np.testing.assert_array_equal(result.codes, looped.codes)
        np.testing.assert_array_equal(result.decoded, looped.decoded)


def test_sixteen_bits_and_less_hit_a_grid_that_both_ends_compute():
    """Delta x code is exact, so ``lo + Delta * code`` cannot depend on fused multiply-adds.

    NumPy rounds the product and the sum, each by itself.
    """
    codes, decoded, grid = in_a_loop()
    rows, is_coded = row_tensors(jax.tree.map(lambda x: x[0], cohort()[1])), BITS <= 16
    lo, step = (np.asarray(part)[:, rows, None] for part in (grid.lo, grid.step))
    expected = lo + step * np.float32(codes)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(decoded[is_coded], expected[is_coded])
    for num_bits, values in zip(BITS[is_coded], decoded[is_coded], strict=True):
        assert all(len(np.unique(row)) <= 2**num_bits for row in values)
