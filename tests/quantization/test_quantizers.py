"""Every quantizer of the registry against its own error curve, through the one entry point."""

import functools
import itertools

import jax
import numpy as np
import pytest

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.quantization import (
    QUANTIZERS,
    find_quantizer,
    is_quantizable,
    quantize,
    tree_to_blocks,
)
from fedjax_diffusion.quantization.blocks import row_tensors
from fedjax_diffusion.quantization.padding import is_entry, row_entries
from fedjax_diffusion.quantization.rotation import ROUNDING
from tests.each import check_each
from tests.quantization.uploads import (
    KINDS,
    LIKE,
    NUM_DRAWS,
    NUM_TRACES,
    aggregate_error,
    blocks_to_like,
    draw_many,
    jit_dequantize,
    jit_quantize,
    like_to_blocks,
    make_tree,
    squared_errors,
)

WAYS = [
    *((name, False) for name in QUANTIZERS),
    ("stochastic", True),
    ("none", True),  # nothing to split
]
"""Quantizers, and whether their bits are split over the tensors."""
LOSSY = [name for name in QUANTIZERS if name != "none"]


@pytest.mark.parametrize("name", LOSSY)
def test_obeys_its_law_at_every_bit_width(name):
    """Unbiased where it says so, and under its bound, which is the planned one but for rounding.

    A decoded entry has a variance of at most step^2 / 4: Bernoulli, and an orthogonal map of such
    entries. Float32 adds a unit in the last place of the largest value, and what rotating adds.
    Every bit width of the first two kinds, every third of the others.
    """

    def check(kind):
        blocks = like_to_blocks(make_tree(kind))
        exact, rows = np.asarray(blocks, np.float64), row_tensors(LIKE)
        used, entries = is_entry(LIKE), row_entries(LIKE)
        quantizer = QUANTIZERS[name]
        for num_bits in BIT_WIDTHS if kind in ("uniform", "normal") else (1, 4, 7, 10, 13, 16, 32):
            drawn = draw_many(name)(jax.random.key(num_bits), blocks, np.int32(num_bits))
            step = np.asarray(drawn.grid.step, np.float64)
            largest = np.abs(exact).max() * (8 if quantizer.transform else 1)
            rounding = step.max(0) * 2.0**-22 + largest * 2.0**-23
            if quantizer.transform:
                rounding = rounding + ROUNDING * np.sqrt((exact**2).sum())
            if quantizer.is_unbiased:
                sigma = np.sqrt((step**2).mean(0) / 4 / NUM_DRAWS)
                bias = np.asarray(drawn.decoded, np.float64).mean(0) - exact
                assert (np.abs(bias).max(1) <= (5 * sigma + rounding)[rows]).all()
                sigma = np.sqrt(
                    (sigma[rows] ** 2 * entries).sum()
                )  # of all together: a common bias adds up
                assert abs(bias[used].sum()) <= 5 * sigma + (rounding[rows] * entries).sum()
            squared = squared_errors(drawn.decoded, blocks)
            bound = np.asarray(drawn.error_bound, np.float64)
            tolerance = 5 * squared.std() / np.sqrt(NUM_DRAWS) + bound.mean() * 1e-5
            assert squared.mean() <= bound.mean() + tolerance
            planned = np.asarray(drawn.bit_width_error, np.float64)[:, BIT_WIDTHS.index(num_bits)]
            slack = 301 * rounding.max() ** 2
            assert (np.sqrt(bound) <= np.sqrt(planned) * (1 + 2.0**-7) + np.sqrt(slack)).all()
            assert (planned <= bound * (1 + 1e-5)).all()

    check_each(KINDS, check)


def test_the_bound_is_not_loose_by_orders():
    """2/3 where an entry falls anywhere between two grid values, 1/3 for the nearest of the two.

    QSGD at few bits and ``rotated`` at 16, whose bound allows for all rounding, come near 1/2.
    """

    def check(num_bits, name):
        blocks = like_to_blocks(make_tree("uniform"))
        drawn = draw_many(name)(jax.random.key(1), blocks, np.int32(num_bits))
        measured = squared_errors(drawn.decoded, blocks).mean()
        bound = np.asarray(drawn.error_bound, np.float64).mean()
        assert (0.25 if name == "nearest" else 0.45) * bound <= measured <= bound

    check_each(itertools.product([1, 2, 3, 6, 8, 12, 16], LOSSY), check)


@pytest.mark.parametrize(("name", "bits_per_tensor"), WAYS)
def test_the_receiver_decodes_what_the_sender_accounts_for(name, bits_per_tensor):
    blocks = like_to_blocks(make_tree("normal"))
    for num_bits in (1, 2, 7, 16):
        sent = jit_quantize(name, bits_per_tensor)(jax.random.key(5), blocks, np.int32(num_bits))
        bit_widths = np.asarray(sent.grid.num_bits)[row_tensors(LIKE)][:, None]
        is_coded = np.broadcast_to(bit_widths <= 16, blocks.shape)
        received = jit_dequantize(name)(sent.codes, sent.grid, sent.seed)
        np.testing.assert_array_equal(received[is_coded], sent.decoded[is_coded])
        assert (np.asarray(sent.codes) >= 0).all()
        assert (np.asarray(sent.codes) < 2**bit_widths)[is_coded].all()
        assert (sent.seed != 0).any() == (QUANTIZERS[name].extra_overhead_bits > 0)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_bit_width_below_its_least_is_raised(name):
    quantizer = QUANTIZERS[name]
    blocks = like_to_blocks(make_tree("normal"))
    raised = jit_quantize(name)(jax.random.key(0), blocks, np.int32(1))
    assert (np.asarray(raised.grid.num_bits) == quantizer.min_bits).all()
    least = jit_quantize(name)(jax.random.key(0), blocks, np.int32(quantizer.min_bits))
    np.testing.assert_array_equal(raised.decoded, least.decoded)
    assert raised.bit_width_error[0] == least.bit_width_error[BIT_WIDTHS.index(quantizer.min_bits)]


@pytest.mark.parametrize("name", QUANTIZERS)
def test_thirty_two_bits_are_the_identity(name):
    widths, kinds = ((32,), ("normal",)) if name in LOSSY else (BIT_WIDTHS, KINDS)
    for num_bits, kind in itertools.product(widths, kinds):
        blocks = like_to_blocks(make_tree(kind))
        quantized = jit_quantize(name)(jax.random.key(0), blocks, np.int32(num_bits))
        np.testing.assert_array_equal(quantized.decoded, blocks)
        assert quantized.error_bound == 0
        assert quantized.bit_width_error[-1] == 0


def test_what_is_not_a_number_is_never_quantized():
    def check(bad, name):
        tree = make_tree("normal")
        tree["w"][200:202] = [-3e38, 3e38] if bad == "range" else [bad, 0.0]
        quantized = jit_quantize(name)(jax.random.key(0), like_to_blocks(tree), np.int32(8))
        assert not is_quantizable(quantized.grid)
        decoded = blocks_to_like(quantized.decoded)
        if name != "none":
            assert np.isnan(decoded["w"]).all()
        assert np.isfinite(decoded["b"]).all()

    check_each(itertools.product([np.nan, np.inf, -np.inf, "range"], QUANTIZERS), check)


@pytest.mark.parametrize(("name", "bits_per_tensor"), WAYS)
def test_new_bits_do_not_recompile(name, bits_per_tensor):
    one, blocks = jit_quantize(name, bits_per_tensor), like_to_blocks(make_tree("normal"))
    one(jax.random.key(0), blocks, np.int32(BIT_WIDTHS[0]))
    traces = NUM_TRACES[name, bits_per_tensor]  # more than one where programs were let go before
    for num_bits in BIT_WIDTHS:
        one(jax.random.key(0), blocks, np.int32(num_bits))
    assert NUM_TRACES[name, bits_per_tensor] == traces >= 1


@pytest.mark.parametrize("name", ["nearest", "qsgd", "rotated"])
def test_what_does_not_draw_permutes_with_the_tensors(name):
    quantizer = QUANTIZERS[name]
    r = np.random.default_rng(0)
    tree = [np.float32(scale * r.normal(size=60)) for scale in (1.0, 5.0)]

    @jax.jit
    def run(tree):
        sent = quantize(quantizer, jax.random.key(0), tree_to_blocks(tree), tree, 6)
        return sent.grid, sent.bit_width_error, sent.decoded if name == "nearest" else None

    (grid, error, decoded), (grid_back, error_back, decoded_back) = run(tree), run(tree[::-1])
    for field in ("lo", "step", "spread"):
        np.testing.assert_array_equal(getattr(grid, field), getattr(grid_back, field)[::-1])
    np.testing.assert_allclose(error, error_back, rtol=1e-6)
    if name == "nearest":
        np.testing.assert_array_equal(decoded, decoded_back[::-1])


@pytest.mark.parametrize("name", ["stochastic", "qsgd", "rotated"])
def test_errors_of_unbiased_quantizers_average_out(name):
    squared, bound = aggregate_error(name)
    weight = 16 * QUANTIZERS[name].aggregation_factor(1 / 16)
    assert squared.mean() <= weight * bound + 5 * squared.std() / np.sqrt(len(squared))
    assert squared.mean() >= 0.4 * weight * bound


@pytest.mark.parametrize("name", QUANTIZERS)
def test_the_registry_keeps_its_contract(name):
    quantizer = QUANTIZERS[name]
    sizes = np.array([0, 1, 2, 100, 10_000, 10**8])
    error_curve = np.broadcast_to(quantizer.error_curve(sizes), (len(BIT_WIDTHS), len(sizes)))
    steps = error_curve[quantizer.min_bits - 1 : 15] - error_curve[quantizer.min_bits : 16]
    assert (steps > 0).all()
    assert (steps[1:] <= steps[:-1]).all()
    assert (error_curve[-1] == 0).all()
    assert quantizer.min_bits in BIT_WIDTHS
    assert (quantizer.transform is None) == (quantizer.inverse is None)
    blocks = like_to_blocks(make_tree("normal"))
    run = jit_quantize(name)
    spreads = [run(jax.random.key(0), blocks, np.int32(b)).grid.spread for b in (2, 9, 32)]
    np.testing.assert_array_equal(spreads[0], spreads[1])
    np.testing.assert_array_equal(spreads[0], spreads[2])


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"one of stochastic, nearest, .*, got 'drive'"):
        find_quantizer("drive")


@pytest.mark.parametrize("name", QUANTIZERS)
def test_other_bit_widths_are_refused(name):
    blocks, key = like_to_blocks(make_tree("normal")), jax.random.key(0)
    for num_bits in (0, 17, 33):
        trace = functools.partial(quantize, QUANTIZERS[name], like=LIKE, num_bits=num_bits)
        with pytest.raises(ValueError, match=r"num_bits must be 1\.\.16 or 32"):
            jax.eval_shape(trace, key=key, blocks=blocks)
