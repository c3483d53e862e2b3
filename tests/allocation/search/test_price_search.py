import functools

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.allocation.search.price_search import Tried, search_price


@functools.partial(jax.jit, static_argnums=0)
def maximise(bound_and_slope, start, known=np.inf):
    """The best price that was tried, and how many were."""

    def evaluate(log_price, memory):
        best, price, count = memory
        bound, slope = bound_and_slope(jnp.exp(log_price))
        price = jnp.where(bound > best, jnp.exp(log_price), price)
        return Tried(bound, slope, jnp.asarray(known)), (jnp.maximum(bound, best), price, count + 1)

    memory = (jnp.array(-jnp.inf), jnp.array(0.0), jnp.array(0))
    _, price, count = search_price(evaluate, jnp.asarray(start), memory)
    return price, count


def smooth(mu):
    return jnp.log(mu) - mu / 7, 1 / mu - 1 / 7


def test_finds_the_peak_of_a_smooth_bound(float64):
    del float64
    for start in (-20.0, 0.0, 3.0, 20.0):
        price, num_evaluations = maximise(smooth, start)
        # The bound is flat there: to 1e-9 of it the price is known to half the digits.
        np.testing.assert_allclose(price, 7.0, rtol=2e-4, err_msg=f"from {start}")
        assert num_evaluations <= 30, start


def test_finds_the_peak_of_lines(float64):
    del float64
    slopes, heights = np.array([5.0, 2.0, 0.5, -0.3, -4.0]), np.array([0.0, 1.0, 3.0, 5.0, 20.0])

    def lines(mu):
        values = heights + slopes * mu
        line = jnp.argmin(values)
        return values[line], jnp.asarray(slopes)[line]

    grid = np.linspace(0.01, 10.0, 100_001)
    best = np.min(heights[:, None] + slopes[:, None] * grid, axis=0).max()
    for start in (-20.0, 0.0, 20.0):
        price, num_evaluations = maximise(lines, start)
        found = np.min(heights + slopes * float(price))
        np.testing.assert_allclose(found, best, rtol=1e-6, err_msg=f"from {start}")
        assert num_evaluations <= 30, start


def test_ends_where_nothing_more_can_be_won(float64):
    del float64
    assert maximise(smooth, 0.0, known=-1.0 / 7)[1] == 1
    assert maximise(smooth, 0.0, known=-np.inf)[1] == 1
