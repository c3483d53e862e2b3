import functools

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.allocation.search.warm_newton import newton_from


def count(fn_and_slope):
    """A look that carries how often it was asked."""
    return lambda x, num_looks: (*fn_and_slope(x), num_looks + 1)


@functools.partial(jax.jit, static_argnums=0)
def find(look, start, lower, upper):
    return newton_from(look, start, lower, upper, 0)


def test_finds_roots_wherever_it_starts(float64):
    shift = np.array([-3.0, 0.0, 0.5, 4.9])
    look = count(lambda x: (jnp.sinh(x - shift), jnp.cosh(x - shift)))
    for start in (-5.0, -1.0, 0.3, 5.0):
        root, num_looks = find(look, np.full(4, start), np.full(4, -5.0), np.full(4, 5.0))
        np.testing.assert_allclose(root, shift, atol=1e-13, err_msg=f"from {start}")
        assert num_looks < 20, start


def test_a_root_nearby_takes_few_looks(float64):
    look = count(lambda x: (jnp.expm1(x), jnp.exp(x)))
    _, num_looks = find(look, 1e-5, -9.0, 9.0)
    assert num_looks <= 4


def test_does_not_go_in_circles(float64):
    # Increasing, and steep in the middle of flat sides: plain steps jump from side to side.
    def steep(x):
        return jnp.arctan(x), 1.0 / (1.0 + x * x)

    root, num_looks = find(count(steep), 1.3917452, -1.4, 1.5)
    assert abs(root) < 1e-13
    assert num_looks < 20


def test_a_step_of_rounding_ends_the_search(float64):
    # The last step is more than half of the one before, and does not halve the bracket for that.
    steps = np.array([0.6, 1.5e-14, 0.9e-14, 0.1])

    def look(x, num_looks):
        return jnp.asarray(steps)[num_looks] + 0.0 * x, jnp.ones_like(x), num_looks + 1

    root, num_looks = find(look, 0.9, 0.0, 1.0)
    np.testing.assert_allclose(root, 0.3, atol=1e-13)
    assert num_looks == 3


def test_a_root_outside_is_clipped(float64):
    look = count(lambda x: (x - np.array([-7.0, 7.0]), jnp.ones_like(x)))
    root, _ = find(look, np.zeros(2), np.full(2, -1.0), np.full(2, 2.0))
    np.testing.assert_allclose(root, [-1.0, 2.0], rtol=1e-12)


def test_infinite_values_and_no_slope_halve_the_bracket(float64):
    def step(x):
        return jnp.where(x < 0.7, -jnp.inf, jnp.inf), jnp.zeros_like(x)

    root, num_looks = find(count(step), 0.0, 0.0, 1.0)
    np.testing.assert_allclose(root, 0.7, rtol=1e-12)
    assert num_looks < 60


def test_zero_says_that_it_is_found(float64):
    look = count(lambda x: (jnp.where(jnp.abs(x - 0.5) < 0.1, 0.0, x - 0.5), jnp.ones_like(x)))
    root, num_looks = find(look, 0.45, 0.0, 1.0)
    assert root == 0.45
    assert num_looks == 1
