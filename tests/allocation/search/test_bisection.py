import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.allocation.search.bisection import bisect, newton

pytestmark = pytest.mark.usefixtures("float64")
TARGETS = np.geomspace(1e-6, 1e6, 13)


def test_bisect_finds_roots_to_float64():
    ones = jnp.ones(len(TARGETS))
    low, high = bisect(lambda x: x**3 - TARGETS, 0.0 * ones, 1e3 * ones, 100)
    np.testing.assert_allclose(high, np.cbrt(TARGETS), rtol=1e-14)
    assert np.all(low <= high)


def test_newton_finds_roots_to_float64():
    ones = jnp.ones(len(TARGETS))
    root = newton(lambda x: (jnp.expm1(x) - TARGETS, jnp.exp(x)), 0.0 * ones, 20.0 * ones)
    np.testing.assert_allclose(root, np.log1p(TARGETS), atol=2e-14)


@pytest.mark.parametrize("offset", [-5.0, 5.0])
def test_roots_outside_the_bracket_are_clipped_exactly(offset):
    lower, upper = jnp.array([0.1]), jnp.array([0.7])
    expected = lower if offset > 0 else upper
    np.testing.assert_array_equal(bisect(lambda x: x + offset, lower, upper, 10)[1], expected)
    root = newton(lambda x: (x + offset, jnp.ones_like(x)), lower, upper)
    np.testing.assert_array_equal(root, expected)


def test_bisect_brackets_the_step_of_a_step_function():
    low, high = bisect(jnp.floor, jnp.array([-3.0]), jnp.array([2.0]), 60)
    assert float(low[0]) < 0 <= float(high[0]) < 1e-12


def test_newton_survives_a_flat_start():
    root = newton(lambda x: (x**9 - 1e-9, 9 * x**8), jnp.array([0.0]), jnp.array([50.0]))
    np.testing.assert_allclose(root, 0.1, rtol=1e-10)
