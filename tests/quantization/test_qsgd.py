"""QSGD's grid: symmetric, exact in float32, scaled by the norm."""

import itertools

import jax
import numpy as np
import pytest

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.quantization import is_quantizable, tree_to_blocks
from fedjax_diffusion.quantization.qsgd import (
    make_qsgd_grid,
    qsgd_error_bound,
    qsgd_error_curve,
    tensor_norms,
)
from fedjax_diffusion.quantization.stochastic import draw_codes
from tests.each import check_each

SIZES = (1, 2, 5, 127, 128, 129, 300, 0)
QUANTIZED = BIT_WIDTHS[1:-1]
jit_grid = jax.jit(lambda tree, b: make_qsgd_grid(tree_to_blocks(tree), tree, b))
jit_norms = jax.jit(lambda tree: tensor_norms(tree_to_blocks(tree), tree))
jit_codes = jax.jit(lambda key, x, grid: draw_codes(key, tree_to_blocks(x), grid, x))
jit_bound = jax.jit(qsgd_error_bound)


def make_tree(scale=1.0, offset=0.0):
    r = np.random.default_rng(0)
    return [np.float32(scale * (offset + r.normal(size=n))) for n in SIZES]


def test_norms_count_every_entry_once_at_any_scale():
    """The offset makes the filling, a copy of the first entry, as large as the entries."""

    def check(scale, offset):
        tree = make_tree(scale, offset)
        norms = np.asarray(jit_norms(tree))
        exact = [np.linalg.norm(x.astype(np.float64)) for x in tree]
        np.testing.assert_allclose(norms, exact, rtol=1e-6)
        assert all(norm >= np.abs(x).max(initial=0) for norm, x in zip(norms, tree, strict=True))

    check_each(itertools.product([1e-30, 1.0, 1e30], [0.0, 10.0]), check)


def test_the_grid_is_symmetric_exact_and_wide_enough():
    def check(num_bits, scale):
        tree = make_tree(scale)[:-1]
        grid = jax.tree.map(np.asarray, jit_grid(tree, num_bits))
        num_intervals = 2 ** (num_bits - 1) - 1
        codes = np.arange(2 * num_intervals + 1)
        values = grid.lo[:, None] + grid.step[:, None] * codes.astype(np.float32)
        exact = grid.step[:, None].astype(np.float64) * (codes - num_intervals)
        np.testing.assert_array_equal(values.astype(np.float64), exact)
        norms = np.array([np.linalg.norm(x.astype(np.float64)) for x in tree])
        assert (values[:, -1] >= norms * (1 - 1e-6)).all()
        assert all(values[j, -1] >= np.abs(x).max() for j, x in enumerate(tree))
        excess = values[:, -1] / norms - 1
        assert (excess <= 2.0 ** (num_bits - 23) + 1e-6).all()

    check_each(itertools.product(QUANTIZED, [1e-20, 1.0, 1e30]), check)


def test_zeros_stay_zero_and_codes_stay_within():
    x = np.float32(np.random.default_rng(1).normal(size=256))
    x[::3] = 0
    for num_bits in QUANTIZED:
        codes = np.asarray(jit_codes(jax.random.key(num_bits), x, jit_grid(x, num_bits)))
        assert (codes.ravel()[:256:3] == 2 ** (num_bits - 1) - 1).all()
        assert codes.max() <= 2**num_bits - 2


def test_what_is_below_float32_is_sent_as_zero():
    tree = [np.zeros(4), np.full(3, 1e-44), np.zeros((0, 3)), np.array(0.0)]
    tree = [x.astype(np.float32) for x in tree]
    grid = jit_grid(tree, 8)
    np.testing.assert_array_equal(grid.step, 0)
    np.testing.assert_array_equal(grid.lo, 0)
    assert not np.signbit(grid.lo).any()
    assert is_quantizable(grid)
    assert jit_bound(grid, tree) <= 1e-80


@pytest.mark.parametrize("bad", [[np.nan, 1], [np.inf, 1], [-np.inf, 0], [2e38, 2e38]])
def test_what_has_no_norm_cannot_be_sent(bad):
    tree = [np.ones(3, np.float32), np.float32(bad)]
    assert np.isfinite(jit_grid(tree, 8).spread).tolist() == [True, False]


@pytest.mark.parametrize(("norm", "num_bits"), [(1.69e38, 2), (1.2e38, 2), (1.69e38, 16)])
def test_a_grid_whose_last_step_overflows_cannot_be_sent(norm, num_bits):
    """A receiver multiplies the step by codes up to 2^b - 1, though 2^b - 2 is the last drawn."""
    ones = np.ones(3, np.float32)
    tree, smaller = [ones, np.float32([norm, 0.0])], [ones, np.float32([1.1e38, 0.0])]
    grid = jax.tree.map(np.asarray, jit_grid(tree, num_bits))
    with np.errstate(over="ignore"):
        last = grid.step * np.float32(2**num_bits - 1)
    assert np.isfinite(2 * np.float32(norm))
    assert bool(is_quantizable(grid)) == bool(np.isfinite(last).all()) == (num_bits == 16)
    assert is_quantizable(jit_grid(tree, 32))
    assert is_quantizable(jit_grid(smaller, num_bits))


def test_the_law_is_the_papers_with_a_bernoulli_variance():
    """Lemma 3.1 (ii) of the paper: E||Q(x) - x||^2 <= min(D / s^2, sqrt(D) / s) ||x||^2."""
    sizes = np.array([1, 4, 100, 10**6])
    error_curve = qsgd_error_curve(sizes) * sizes  # per squared norm
    for num_bits in QUANTIZED:
        s = 2 ** (num_bits - 1) - 1
        paper = np.minimum(sizes / s**2, np.sqrt(sizes) / s)
        ours = error_curve[BIT_WIDTHS.index(num_bits)]
        assert (ours <= paper).all()
        assert (ours >= paper / 4 * (1 - 1e-12)).all()
    assert (error_curve[-1] == 0).all()


def test_the_law_is_convex_where_it_is_used():
    """The split over tensors sorts increments: each must save less than the one before."""
    error_curve = qsgd_error_curve(np.unique(np.round(10 ** np.linspace(0, 8, 2001))))[1:16]
    steps = error_curve[:-1] - error_curve[1:]
    assert (steps > 0).all()
    assert (steps[1:] < steps[:-1]).all()


def test_the_bound_is_the_law_with_the_step_that_is_sent():
    def check(num_bits):
        tree = make_tree()
        sizes = np.array(SIZES)
        norms = np.array([np.linalg.norm(x.astype(np.float64)) for x in tree])
        planned = (qsgd_error_curve(sizes)[num_bits - 1] * sizes * norms**2).sum()
        bound = float(jit_bound(jit_grid(tree, num_bits), tree))
        assert planned * (1 - 1e-5) <= bound <= planned * (1 + 2.0 ** (num_bits - 23) + 1e-5) ** 2

    check_each(QUANTIZED, check)


def test_a_tensor_of_equal_entries_is_sent_as_few_large_ones():
    """At 2 bits each of 256 ones becomes the norm, 16, with probability 1/16: 16 in the mean."""
    ones, num_draws = np.ones(256, np.float32), 500
    grid = jit_grid(ones, 2)
    keys = jax.random.split(jax.random.key(0), num_draws)
    codes = np.asarray(jax.vmap(jit_codes, in_axes=(0, None, None))(keys, ones, grid))
    assert set(np.unique(codes)) == {1, 2}
    probability = 1 / float(grid.step[0])
    sigma = np.sqrt(256 * probability * (1 - probability) / num_draws)
    assert abs((codes == 2).sum((1, 2)).mean() - 256 * probability) <= 5 * sigma
    assert probability == pytest.approx(1 / 16, rel=1e-6)
