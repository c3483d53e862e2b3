"""Error feedback: the factor is the best power of two, and the memory stays bounded at one bit."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.quantization import (
    QUANTIZERS,
    blocks_squared_norm,
    blocks_to_tree,
    dequantize,
    find_quantizer,
    quantize,
    refill,
    shrink,
    tree_to_blocks,
)
from fedjax_diffusion.quantization.padding import is_entry, tensor_sums
from tests.each import check_each

RNG = np.random.default_rng(0)
TREE = {
    "bell": np.float32(RNG.standard_normal(700)),
    "constant": np.full((3, 5), 2.0, np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "lone": np.float32([-0.25]),
    "ramp": np.linspace(1.0, 4.0, 200, dtype=np.float32),
    "zero": np.zeros(130, np.float32),
}
BLOCKS = np.asarray(jax.jit(tree_to_blocks)(TREE))
LOSSY = [name for name in QUANTIZERS if name != "none"]


@functools.partial(jax.jit, static_argnums=0)
def send(quantizer, key, blocks, num_bits):
    quantized = quantize(find_quantizer(quantizer), key, blocks, TREE, num_bits)
    return quantized, shrink(quantized, blocks, TREE)


squared_norms = jax.jit(lambda blocks: tensor_sums(jnp.square(blocks), TREE))
squared_norm = jax.jit(lambda blocks: blocks_squared_norm(blocks, TREE))
jit_refill = jax.jit(lambda blocks: refill(blocks, TREE))
jit_dequantize = jax.jit(
    lambda quantizer, sent: dequantize(quantizer, sent.codes, sent.grid, sent.seed, TREE),
    static_argnums=0,
)


@pytest.mark.parametrize("quantizer", LOSSY)
def test_no_tensor_is_worse_than_unscaled_or_unsent_and_the_factor_is_the_best(quantizer):
    def check(num_bits):
        plain, scaled = send(quantizer, jax.random.key(num_bits), BLOCKS, num_bits)
        error, decoded = squared_norms(scaled.decoded - BLOCKS), np.asarray(plain.decoded)
        factors = np.float32([0.0, *(2.0**-m for m in range(31))])  # unsent, and unscaled, too
        others = [squared_norms(f * decoded - BLOCKS) for f in factors]
        room = 1e-5 * np.asarray(squared_norms(BLOCKS))
        assert (error <= np.min(others, axis=0) + room).all()

    check_each([1, 2, 4, 8], check)


def test_the_scaled_grid_says_what_was_decoded():
    def check(num_bits, quantizer):
        _, scaled = send(quantizer, jax.random.key(0), BLOCKS, num_bits)
        decoded = jit_dequantize(find_quantizer(quantizer), scaled)
        np.testing.assert_array_equal(decoded, scaled.decoded)
        word = np.asarray(scaled.grid.step).view(np.uint32)
        assert (word % (1 << num_bits) == 0).all()

    check_each(itertools.product([1, 4, 16], LOSSY), check)


def test_float32_is_left_alone():
    _, scaled = send("stochastic", jax.random.key(0), BLOCKS, 32)
    np.testing.assert_array_equal(scaled.decoded, BLOCKS)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_scales_neither_overflow_nor_vanish(scale):
    blocks = BLOCKS * np.float32(scale)
    plain, scaled = send("stochastic", jax.random.key(1), blocks, 2)
    expected = send("stochastic", jax.random.key(1), BLOCKS, 2)
    factors = [
        np.asarray(s.grid.step) / np.maximum(p.grid.step, np.float32(1e-38))
        for p, s in ((plain, scaled), expected)
    ]
    np.testing.assert_array_equal(factors[0], factors[1])
    assert np.isfinite(scaled.decoded).all()


@pytest.mark.parametrize("quantizer", LOSSY)
def test_the_memory_is_bounded_at_the_fewest_bits_where_plain_feedback_diverges(quantizer):
    """Constant updates u: a contraction by q keeps ``||e|| <= sqrt(q) / (1 - sqrt(q)) ||u||``.

    The factor is the best power of two, so q is at most ``1 - (8/9) <Q, v>^2 / (||Q||^2 ||v||^2)``;
    the bound is checked with the largest q met on the way.
    """
    num_bits, num_rounds = QUANTIZERS[quantizer].min_bits, 60
    unit = BLOCKS / np.sqrt(squared_norm(BLOCKS))
    memory, plain_memory, worst = np.zeros_like(unit), np.zeros_like(unit), 0.0
    for n in range(num_rounds):
        key = jax.random.key(n)
        payload = np.asarray(jit_refill(unit + memory))
        _, scaled = send(quantizer, key, payload, num_bits)
        memory = payload - scaled.decoded
        worst = max(worst, float(squared_norm(memory)) / float(squared_norm(payload)))
        if float(squared_norm(plain_memory)) < 1e12:
            plain_payload = np.asarray(jit_refill(unit + plain_memory))
            plain_memory = plain_payload - send(quantizer, key, plain_payload, num_bits)[0].decoded
    assert worst < 1
    root = np.sqrt(worst)
    assert float(squared_norm(memory)) <= (root / (1 - root)) ** 2
    if QUANTIZERS[quantizer].is_unbiased:
        assert float(squared_norm(plain_memory)) > 1e6


def test_what_is_sent_adds_up_to_what_was_to_be_sent():
    """sum_n sent_n = sum_n u_n - e_N: with feedback nothing is lost, only late."""
    memory, sent = np.zeros_like(BLOCKS), np.zeros_like(BLOCKS)
    for n in range(20):
        payload = np.asarray(jit_refill(BLOCKS + memory))
        _, scaled = send("stochastic", jax.random.key(n), payload, 2)
        memory, sent = payload - scaled.decoded, sent + scaled.decoded
    entries = is_entry(TREE)
    np.testing.assert_allclose((sent + memory)[entries], 20 * BLOCKS[entries], rtol=1e-4, atol=1e-4)


def test_refill_repeats_first_entries_and_keeps_the_others():
    blocks = np.arange(BLOCKS.size, dtype=np.float32).reshape(BLOCKS.shape)
    to_tree = jax.jit(lambda blocks: blocks_to_tree(blocks, TREE))
    filled, kept = jit_refill(blocks), to_tree(blocks)
    np.testing.assert_array_equal(filled, jax.jit(tree_to_blocks)(to_tree(filled)))
    for name, x in to_tree(filled).items():
        np.testing.assert_array_equal(x, kept[name])
