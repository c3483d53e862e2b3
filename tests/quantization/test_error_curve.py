"""The distribution of the quantizer: the two values that an entry may become, and how often.

The oracle computes the grid's values in float64, rounds them to the dtype of the tensor, and finds
the two around each entry; the draws must be one of them, the upper one with the probability that
makes the mean exact.
"""

import itertools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from fedjax_diffusion.bits import MAX_BITS
from fedjax_diffusion.quantization import (
    is_quantizable,
    make_grid,
    quantization_error_bound,
    stochastic_quantize,
    tree_to_blocks,
)
from fedjax_diffusion.quantization.counter_random import counter_uniform
from tests.each import check_each

NUM_DRAWS, NUM_ENTRIES = 512, 64
ALL_BITS = range(1, MAX_BITS + 1)
FLOAT32_MAX = float(np.finfo(np.float32).max)
TAIL = 5.8e-7  # what lies beyond 5 sigma of a normal number


@jax.jit
def draw_many(key, x, num_bits):
    """Quantizes x [D] NUM_DRAWS times: [NUM_DRAWS, D]."""
    keys = jax.random.split(key, NUM_DRAWS)
    return jax.vmap(lambda k: stochastic_quantize(k, x, num_bits))(keys)


@jax.jit
def grid_of(x, num_bits):
    return make_grid(tree_to_blocks(x), x, num_bits)


jit_quantize = jax.jit(stochastic_quantize, static_argnames="uniform")
jit_bound = jax.jit(quantization_error_bound)


def values_around(x, num_bits):
    """Returns the two values that each entry may become, float64 [D] each."""
    lo, step, _, spread = (np.float64(field[0]) for field in grid_of(x, num_bits))
    assert np.isfinite(spread)
    values = np.float32(lo + step * np.arange(2**num_bits)).astype(x.dtype).astype(np.float64)
    exact = x.astype(np.float64)
    assert values[0] <= exact.min()
    assert values[-1] >= exact.max()
    above = np.searchsorted(values, exact, side="left")
    below = np.searchsorted(values, exact, side="right") - 1
    return values[below], values[above]


def check_distribution(x, drawn, num_bits):
    """Counts are binomial: Bernstein's inequality bounds them at any probability.

    Allowed besides: the draws' resolution, 2^-24 each of ``u`` and of the product it is compared
    with.
    """
    below, above = values_around(x, num_bits)
    is_up = drawn == above
    assert ((drawn == below) | is_up).all()
    exact = x.astype(np.float64)
    gap = np.where(above > below, above - below, 1.0)
    probability = np.where(above > below, (exact - below) / gap, 1.0)
    variance = NUM_DRAWS * probability * (1 - probability)
    log = np.log(2 / TAIL)
    tail = log / 3 + np.sqrt(log**2 / 9 + 2 * log * variance)
    resolution = NUM_DRAWS * 2.0**-23
    excess = is_up.sum(axis=0) - NUM_DRAWS * probability
    assert (np.abs(excess) <= np.where(variance > 0, tail, 0) + resolution).all()
    # All entries together, in units of their gaps: a common bias would add up.
    assert abs(excess.sum()) <= 5 * np.sqrt(variance.sum()) + log + x.size * resolution


def tensor(name):
    """Returns the tensor of a case, float32 [64]."""
    rng = np.random.default_rng(3)
    normal = rng.normal(size=NUM_ENTRIES)
    line = np.linspace(0, 1, NUM_ENTRIES)
    x = {
        "normal": normal,
        "uniform": rng.uniform(-1, 1, size=NUM_ENTRIES),
        "offset": 100 + normal,
        "far offset": 1e6 + normal,
        "sparse": np.where(line < 0.9, 0.0, normal),
        "outlier": np.where(line == 1, 1e4, normal),
        "two values": np.where(line < 0.5, -0.3, 0.7),
        "one ulp apart": np.where(line < 0.5, 1.0, 1 + 2.0**-23),
        "huge": 1e37 * normal,
        "whole range": (2 * line - 1) * 1.7e38,
        "small": 1e-25 * normal,
        "smallest": np.round(normal * 2.0**20) * 2.0**-126,
    }[name]
    return np.float32(x)


CASES = (
    "normal",
    "uniform",
    "offset",
    "far offset",
    "sparse",
    "outlier",
    "two values",
    "one ulp apart",
    "huge",
    "whole range",
    "small",
    "smallest",
)
ALL_PAIRS = [(case, num_bits) for case in CASES for num_bits in ALL_BITS]


def test_float32_is_drawn_as_its_distribution_says():
    def check(case, num_bits):
        x = tensor(case)
        drawn = np.asarray(draw_many(jax.random.key(num_bits), x, num_bits), np.float64)
        check_distribution(x, drawn, num_bits)

    check_each(ALL_PAIRS, check)


def test_bfloat16_is_drawn_as_its_distribution_says():
    def check(case, num_bits):
        x = tensor(case).astype(ml_dtypes.bfloat16)
        drawn = draw_many(jax.random.key(num_bits), x, num_bits)
        assert drawn.dtype == jnp.bfloat16
        check_distribution(x, np.asarray(drawn, np.float64), num_bits)

    cases = ("normal", "offset", "sparse", "outlier", "huge", "small")
    widths = (1, 2, 4, 7, 8, 9, 12, 16)  # around the eight bits of its own, too
    check_each(list(itertools.product(cases, widths)), check)


def test_theorem_1_bounds_the_expected_error():
    check_each(ALL_PAIRS, check_theorem_1)


def check_theorem_1(case, num_bits):
    """The expected error is ``sum_i (x_i - below_i)(above_i - x_i)``, whatever is drawn."""
    x = tensor(case)
    exact = x.astype(np.float64)
    below, above = values_around(x, num_bits)
    step = np.ptp(exact) / (2**num_bits - 1) * (1 + 2.0**-7)
    assert ((exact - below) * (above - exact)).sum() <= x.size * step**2 / 4
    if 1e-15 < step < 1e15:  # else its square is no normal float32
        sent_step = float(grid_of(x, num_bits).step[0])
        reported = float(jit_bound(x, num_bits))
        np.testing.assert_allclose(reported, x.size * sent_step**2 / 4, rtol=1e-6)
        assert reported <= x.size * step**2 / 4


@pytest.mark.parametrize("num_bits", [1, 4, 16])
def test_the_counter_errs_as_threefry_does(num_bits):
    """Mean and variance of the errors, each within 5 sigma of its difference.

    An entry errs by ``above - x`` with probability p and else by ``below - x``.
    """
    x = np.float32(np.random.default_rng(5).normal(size=2**17))
    below, above = values_around(x, num_bits)
    up, down = above - x.astype(np.float64), x.astype(np.float64) - below
    variance = up * down
    variance_of_square = variance * np.square(up - down)
    keys = jax.random.split(jax.random.key(num_bits))
    counter, threefry = (
        np.asarray(jit_quantize(key, x, num_bits, uniform), np.float64) - x
        for key, uniform in zip(keys, (counter_uniform, jax.random.uniform), strict=True)
    )
    sigma = np.sqrt(2 * variance.sum())
    assert abs(counter.sum() - threefry.sum()) <= 5 * sigma
    sigma = np.sqrt(2 * variance_of_square.sum())
    assert abs(np.square(counter).sum() - np.square(threefry).sum()) <= 5 * sigma
    assert abs((counter * threefry).sum()) <= 5 * np.sqrt(np.square(variance).sum())


def test_largest_tensors_are_drawn_so_or_refused():
    largest = (0.99 * FLOAT32_MAX, 0.9999 * FLOAT32_MAX, FLOAT32_MAX)
    check_each([(x, num_bits) for x in largest for num_bits in ALL_BITS], check_largest)


def check_largest(largest, num_bits):
    """At the end of float32 the distribution holds, or the tensor is refused."""
    x = np.float32(np.linspace(0, 1, NUM_ENTRIES) * largest)
    drawn = np.asarray(draw_many(jax.random.key(0), x, num_bits), np.float64)
    grid = grid_of(x, num_bits)
    if is_quantizable(grid):
        check_distribution(x, drawn, num_bits)
    else:
        assert largest * (1 + 2.0**-7) > FLOAT32_MAX
        assert np.isnan(drawn).all()
    assert is_quantizable(grid_of(x, 32))
    np.testing.assert_array_equal(jit_quantize(jax.random.key(0), x, 32), x)
