"""Division of integers' making against the processor's own, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.quantization.division import divide, divide_integers

COMPILED = jax.jit(divide_integers)
MOST = 200_000


def assert_same_bits(x, y):
    x, y = np.broadcast_arrays(np.float32(x), np.float32(y))
    with np.errstate(all="ignore"):
        expected = x / y
    filled = np.ones((2, MOST), np.float32)  # one program for all
    filled[:, : x.size] = x.ravel(), y.ravel()
    got = np.asarray(COMPILED(*filled))[: x.size].reshape(x.shape)
    is_normal = (np.abs(expected) >= np.finfo(np.float32).tiny) | (expected == 0)
    is_same = (got.view(np.uint32) == expected.view(np.uint32)) | (
        np.isnan(got) & np.isnan(expected)
    )
    assert (is_same | ~is_normal).all()


def test_quotients_of_random_numbers_are_correctly_rounded():
    rng = np.random.default_rng(0)
    parts = rng.uniform(1, 2, (2, MOST)) * 2.0 ** rng.integers(-60, 60, (2, MOST))
    assert_same_bits(*parts)


@pytest.mark.parametrize("num_intervals", [1, 3, 7, 255, 4095, 65535])
def test_steps_of_grids_are_correctly_rounded(num_intervals):
    rng = np.random.default_rng(num_intervals)
    assert_same_bits(2.0 ** rng.uniform(-120, 120, 50_000), num_intervals)


def test_fractions_next_to_powers_of_two_are_correctly_rounded():
    near = np.float32(1) + np.arange(-50, 50) * np.float32(2**-23)
    assert_same_bits(near[:, None] * np.ones(100), near[None, :] * np.ones((100, 1)))
    assert_same_bits(np.ones(100), near)


def test_other_numbers_are_divided_by_the_device():
    edges = np.array([0.0, -0.0, 1.0, -2.5, 3e38, 1.2e-38, np.inf, -np.inf, np.nan], np.float32)
    assert_same_bits(edges[:, None] * np.ones(len(edges), np.float32), edges[None, :])


def test_only_a_cpu_divides_by_itself():
    """Its program is that of a plain division; others divide integers."""
    x = y = jnp.ones(3)

    def count_divisions(platform):
        text = jax.jit(divide).trace(x, y).lower(lowering_platforms=(platform,)).as_text()
        return text.count("stablehlo.divide")

    plain = jax.jit(jnp.divide).lower(x, y).as_text()
    assert count_divisions("cpu") == plain.count("stablehlo.divide") == 1
    assert count_divisions("cuda") > 4
    assert count_divisions("tpu") > 4
