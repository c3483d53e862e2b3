import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.allocation.search.price_search import Tried, search_price


def maximise(bound_and_slope, start, known=np.inf):
    """The best price that was tried, and how many were."""

    def evaluate(log_price, memory):
        best, price, count = memory
        bound, slope = bound_and_slope(jnp.exp(log_price))
        price = jnp.where(bound > best, jnp.exp(log_price), price)
        return Tried(bound, slope, jnp.array(known)), (jnp.maximum(bound, best), price, count + 1)

    memory = (jnp.array(-jnp.inf), jnp.array(0.0), jnp.array(0))
    _, price, count = search_price(evaluate, jnp.array(start), memory)
    return float(price), int(count)


@pytest.mark.parametrize("start", [-20.0, 0.0, 3.0, 20.0])
def test_finds_the_peak_of_a_smooth_bound(float64, start):
    del float64
    price, num_evaluations = maximise(lambda mu: (jnp.log(mu) - mu / 7, 1 / mu - 1 / 7), start)
    # The bound is flat there: to 1e-9 of it the price is known to half the digits.
    np.testing.assert_allclose(price, 7.0, rtol=2e-4)
    assert num_evaluations <= 30


@pytest.mark.parametrize("start", [-20.0, 0.0, 20.0])
def test_finds_the_peak_of_lines(float64, start):
    del float64
    slopes, heights = jnp.array([5.0, 2.0, 0.5, -0.3, -4.0]), jnp.array([0.0, 1.0, 3.0, 5.0, 20.0])

    def bound_and_slope(mu):
        values = heights + slopes * mu
        line = jnp.argmin(values)
        return values[line], slopes[line]

    grid = np.linspace(0.01, 10.0, 100_001)
    best = np.min(np.asarray(heights)[:, None] + np.asarray(slopes)[:, None] * grid, axis=0).max()
    price, num_evaluations = maximise(bound_and_slope, start)
    np.testing.assert_allclose(bound_and_slope(price)[0], best, rtol=1e-6)
    assert num_evaluations <= 30


def test_ends_where_nothing_more_can_be_won(float64):
    del float64

    def bound_and_slope(mu):
        return jnp.log(mu) - mu / 7, 1 / mu - 1 / 7

    assert maximise(bound_and_slope, 0.0, known=-1.0 / 7)[1] == 1
    assert maximise(bound_and_slope, 0.0, known=-np.inf)[1] == 1
