"""Codes and values are the same, bit for bit, in every mapping and at both ends of a message.

All bit widths, kinds of uploads and messages are in the other files, whose programs have no fused
multiply-adds.
"""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from fedjax_diffusion.quantization import (
    QUANTIZERS,
    decode_update,
    encode_update,
    make_layout,
    stochastic_quantize,
    write_upload,
)
from fedjax_diffusion.quantization.blocks import row_tensors
from tests.quantization.uploads import (
    LIKE,
    blocks_to_like,
    jit_quantize,
    like_to_blocks,
    make_tree,
)

pytestmark = pytest.mark.optimized  # a fused multiply-add may change a bit

NUM_CLIENTS = 8
BITS = np.array([1, 2, 3, 5, 8, 12, 16, 32], np.int32)
SENT = ("offset", "normal", "sparse", "offset", "uniform", "offset", "huge", "small")
LOSSY = [name for name in QUANTIZERS if name != "none"]

make_keys = jax.jit(jax.vmap(jax.random.key))
the_papers = jax.jit(stochastic_quantize)


def on_devices(mapping, num_devices):
    mesh = jax.make_mesh((num_devices,), ("clients",), axis_types=(AxisType.Auto,))
    options = {"in_specs": P("clients"), "out_specs": P("clients"), "check_vma": False}
    return jax.shard_map(mapping, mesh=mesh, **options)


def in_chunks(mapping):
    """Maps chunks of two clients, one after the other."""

    def run(*cohort):
        num_chunks = len(cohort[0]) // 2
        chunks = jax.tree.map(lambda x: x.reshape(num_chunks, 2, *x.shape[1:]), cohort)
        results = jax.lax.map(lambda chunk: mapping(*chunk), chunks)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), results)

    return run


@functools.cache
def cohort():
    """Returns keys, blocks [8, R, 128] and bits of 8 clients."""
    blocks = [like_to_blocks(make_tree(kind, seed)) for seed, kind in enumerate(SENT)]
    return make_keys(np.arange(NUM_CLIENTS)), np.stack(blocks), BITS


def one_by_one(one):
    """Maps one client after the other, each in a call of its own."""
    keys, blocks, bits = cohort()
    sent = [one(keys[m], blocks[m], bits[m]) for m in range(NUM_CLIENTS)]
    return jax.tree.map(lambda *xs: np.stack(xs), *sent)


@functools.cache
def in_a_loop(name):
    """Returns the oracle of a quantizer."""
    return one_by_one(jit_quantize(name))


@pytest.mark.parametrize("name", LOSSY)
def test_codes_and_values_do_not_depend_on_the_mapping(name):
    """To the bit, but for the order of the sum in QSGD's norm: its step may round up once more.

    On two devices: four clients at once, or for the paper's quantizer two chunks of two.
    """
    many = jax.vmap(jit_quantize(name))
    mapping = on_devices(in_chunks(many) if name == "stochastic" else many, 2)
    result, looped = jax.jit(mapping)(*cohort()), in_a_loop(name)
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


def test_bits_that_are_split_over_the_tensors_do_not_depend_on_the_mapping():
    """Nor does their grid, of which codes and values are made as above."""
    split = jit_quantize("nearest", bits_per_tensor=True)  # it draws nothing
    one = jax.jit(lambda *client: split(*client).grid)
    result = jax.jit(on_devices(jax.vmap(one), 2))(*cohort())
    jax.tree.map(np.testing.assert_array_equal, result, one_by_one(one))
    assert len(np.unique(result.num_bits[BITS == 5])) > 1


@pytest.mark.parametrize("name", [name for name in LOSSY if QUANTIZERS[name].inverse is None])
def test_sixteen_bits_and_less_hit_a_grid_that_both_ends_compute(name):
    """Delta x code is exact, so ``lo + Delta * code`` cannot depend on fused multiply-adds.

    NumPy rounds the product and the sum, each by itself.
    """
    sent, rows, is_coded = in_a_loop(name), row_tensors(LIKE), BITS <= 16
    lo, step = (np.asarray(part)[:, rows, None] for part in (sent.grid.lo, sent.grid.step))
    expected = lo + step * np.float32(sent.codes)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(sent.decoded[is_coded], expected[is_coded])
    for num_bits, values in zip(BITS[is_coded], sent.decoded[is_coded], strict=True):
        assert all(len(np.unique(row)) <= 2**num_bits for row in values)


@pytest.mark.parametrize("name", LOSSY)
def test_a_message_decodes_to_what_quantize_says(name):
    """Of twelve and sixteen bits: the products of step and code have all 24 bits."""
    sent, tree = in_a_loop(name), make_tree("zero")
    for m in np.flatnonzero((BITS == 12) | (BITS == 16)):
        one = jax.tree.map(lambda x, m=m: x[m], sent)
        fields = one.grid.num_bits, one.grid.lo, one.grid.step, one.seed
        message = write_upload(make_layout(tree), name, *fields, one.codes.astype(np.uint16))
        decoded = blocks_to_like(one.decoded)
        jax.tree.map(np.testing.assert_array_equal, decode_update(message, tree), decoded)


@pytest.mark.parametrize("name", ["stochastic", "qsgd"])
def test_what_is_encoded_is_what_quantize_says(name):
    """The others' codes are chosen in the same way, on the same grid; QSGD's needs a long sum."""
    for kind in ("normal", "offset", "sparse", "huge"):
        tree, key = make_tree(kind), jax.random.key(3)
        sent = jit_quantize(name)(key, like_to_blocks(tree), np.int32(8))
        decoded = decode_update(encode_update(key, tree, 8, quantizer=name), tree)
        jax.tree.map(np.testing.assert_array_equal, decoded, blocks_to_like(sent.decoded))
        if name == "stochastic":
            jax.tree.map(np.testing.assert_array_equal, decoded, the_papers(key, tree, 8))
