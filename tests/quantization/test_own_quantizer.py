"""A quantizer of one's own: one value and one line of the registry, and every part knows it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.bits import BIT_WIDTHS, UNIFORM_ERROR_CURVE
from fedjax_diffusion.quantization import (
    QUANTIZERS,
    Quantizer,
    decode_update,
    encode_update,
    find_quantizer,
    make_grid,
    overhead_bits,
    predict_bit_width_error,
    quantize,
)
from fedjax_diffusion.quantization.bounds import grid_error_bound
from fedjax_diffusion.quantization.stochastic import draw_codes
from fedjax_diffusion.quantization.wire.message import VersionError
from tests.quantization.uploads import LIKE, blocks_to_like, like_to_blocks, make_tree

LEAST, NUMBER = 3, 250


def _floor_codes(key, blocks, grid, like):
    """Rounds every entry down: a draw that is never below the chance of going up."""
    codes = draw_codes(key, blocks, grid, like, lambda key, shape: jnp.full(shape, 0.5))
    row = np.repeat(np.arange(len(grid.lo)), [-(-x.size // 128) for x in jax.tree.leaves(like)])
    is_above = grid.lo[row, None] + grid.step[row, None] * codes > blocks
    return codes - is_above.astype(jnp.int32)


FLOOR = Quantizer(
    wire_number=NUMBER,
    make_grid=make_grid,
    choose_codes=_floor_codes,
    error_curve=lambda sizes: 4 * UNIFORM_ERROR_CURVE,
    error_bound=lambda grid, like: 4 * grid_error_bound(grid, like),
    is_unbiased=False,
    min_bits=LEAST,
)


@jax.jit
def quantize_floor(key, blocks, num_bits):
    return quantize(FLOOR, key, blocks, LIKE, num_bits)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setitem(QUANTIZERS, "floor", FLOOR)


@pytest.mark.parametrize("num_bits", [1, 5, 16, 32])
def test_own_quantizer_is_sent_as_quantize_says(num_bits):
    tree, key = make_tree("normal"), jax.random.key(0)
    assert find_quantizer("floor") is FLOOR
    quantized = quantize_floor(key, like_to_blocks(tree), np.int32(num_bits))
    message = encode_update(key, tree, num_bits, quantizer="floor")
    assert message[5] == NUMBER
    expected = jax.device_get(blocks_to_like(quantized.decoded))
    jax.tree.map(np.testing.assert_array_equal, decode_update(message, tree), expected)
    assert quantized.grid.num_bits.tolist() == [max(num_bits, LEAST)] * len(tree)
    for x, sent in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert (sent <= x).all()


def test_own_quantizer_is_predicted_by_its_own_error_curve():
    tree = make_tree("normal")
    predicted = predict_bit_width_error(FLOOR, tree)
    paper = predict_bit_width_error(QUANTIZERS["stochastic"], tree)
    raised = np.maximum(np.arange(len(BIT_WIDTHS)), LEAST - 1)
    np.testing.assert_allclose(predicted, 4 * paper[raised], rtol=1e-6)
    least = overhead_bits(tree, "floor")
    np.testing.assert_array_equal(least, overhead_bits(tree, "stochastic"))


def test_message_of_an_unknown_quantizer_is_refused(monkeypatch):
    tree = make_tree("normal")
    message = encode_update(jax.random.key(0), tree, 4, quantizer="floor")
    monkeypatch.delitem(QUANTIZERS, "floor")
    with pytest.raises(VersionError, match=rf"quantizer {NUMBER} is none of 0\.\.4"):
        decode_update(message, tree)
