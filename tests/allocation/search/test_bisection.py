import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.allocation.search.bisection import bisect, newton

pytestmark = pytest.mark.usefixtures("float64")
TARGETS = np.geomspace(1e-6, 1e6, 13)
jit_bisect = jax.jit(bisect, static_argnums=(0, 3))
jit_newton = jax.jit(newton, static_argnums=0)


def test_bisect_finds_roots_to_float64():
    zeros = np.zeros(len(TARGETS))
    low, high = jit_bisect(lambda x: x**3 - TARGETS, zeros, zeros + 1e3, 100)
    np.testing.assert_allclose(high, np.cbrt(TARGETS), rtol=1e-14)
    assert np.all(low <= high)


def test_newton_finds_roots_to_float64():
    zeros = np.zeros(len(TARGETS))
    root = jit_newton(lambda x: (jnp.expm1(x) - TARGETS, jnp.exp(x)), zeros, zeros + 20.0)
    np.testing.assert_allclose(root, np.log1p(TARGETS), atol=2e-14)


@pytest.mark.parametrize("offset", [-5.0, 5.0])
def test_roots_outside_the_bracket_are_clipped_exactly(offset):
    lower, upper = np.array([0.1]), np.array([0.7])
    expected = lower if offset > 0 else upper
    np.testing.assert_array_equal(jit_bisect(lambda x: x + offset, lower, upper, 10)[1], expected)
    root = jit_newton(lambda x: (x + offset, jnp.ones_like(x)), lower, upper)
    np.testing.assert_array_equal(root, expected)


def test_bisect_brackets_the_step_of_a_step_function():
    low, high = jit_bisect(jnp.floor, np.array([-3.0]), np.array([2.0]), 60)
    assert float(low[0]) < 0 <= float(high[0]) < 1e-12


def test_newton_survives_a_flat_start():
    root = jit_newton(lambda x: (x**9 - 1e-9, 9 * x**8), np.array([0.0]), np.array([50.0]))
    np.testing.assert_allclose(root, 0.1, rtol=1e-10)
