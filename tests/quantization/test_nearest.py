"""Rounding to the nearest: deterministic, half a step at most, errors that do not average out."""

import jax
import numpy as np

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.quantization import QUANTIZERS
from fedjax_diffusion.quantization.blocks import row_tensors
from tests.each import check_each
from tests.quantization.uploads import (
    LIKE,
    aggregate_error,
    jit_quantize,
    like_to_blocks,
    make_tree,
)


def test_is_deterministic_and_within_half_a_step():
    """Half a step of the grid as float32 holds it: neighbours may be one more ulp apart."""

    def check(num_bits):
        for kind in ("normal", "offset", "sparse"):
            blocks = like_to_blocks(make_tree(kind))
            quantized = jit_quantize("nearest")(jax.random.key(0), blocks, np.int32(num_bits))
            again = jit_quantize("nearest")(jax.random.key(1), blocks, np.int32(num_bits))
            np.testing.assert_array_equal(quantized.codes, again.codes)
            step = np.asarray(quantized.grid.step, np.float64)[row_tensors(LIKE)]
            distance = np.abs(np.asarray(quantized.decoded, np.float64) - np.asarray(blocks)).max(1)
            assert (distance <= step / 2 + np.spacing(np.abs(np.asarray(blocks)).max())).all()

    check_each(BIT_WIDTHS[:-1], check)


def test_finds_the_nearest_of_all_values():
    blocks = like_to_blocks(make_tree("offset"))
    quantized = jit_quantize("nearest")(jax.random.key(0), blocks, np.int32(5))
    lo, step = np.asarray(quantized.grid.lo), np.asarray(quantized.grid.step)
    values = lo[:, None] + step[:, None] * np.arange(32, dtype=np.float32)[None, :]
    distance = np.abs(values[row_tensors(LIKE)][:, None, :] - np.asarray(blocks)[:, :, None])
    error = np.subtract(quantized.decoded, blocks)
    np.testing.assert_array_equal(np.abs(error), distance.min(2))


def test_errors_of_equal_clients_do_not_average_out():
    """Equal clients make equal errors: the squared weights would understate them 16-fold."""
    squared, bound = aggregate_error("nearest")
    assert 16 * QUANTIZERS["nearest"].aggregation_factor(1 / 16) == 1
    assert (squared <= bound).all()
    assert (squared > 16 * (1 / 16) ** 2 * bound).all()
