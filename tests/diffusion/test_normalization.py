"""The normalization against Flax's, in value and in gradient."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.diffusion.normalization import GroupNorm

SHAPE = (3, 4, 5, 12)


def draw(seed, shape=SHAPE, offset=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(offset, scale, shape).astype(np.float32)


def ours_and_flax(num_groups, is_activated, dtype=jnp.float32):
    """Returns two functions of (params, x)."""
    ours = GroupNorm(num_groups, is_activated, dtype)
    reference = nn.GroupNorm(num_groups, dtype=dtype)
    activation = nn.silu if is_activated else lambda y: y
    return (
        lambda params, x: ours.apply({"params": params}, x),
        lambda params, x: activation(reference.apply({"params": params}, x)),
    )


PARAMS = {"scale": draw(1, (12,), 1.0), "bias": draw(2, (12,))}


@functools.partial(jax.jit, static_argnums=(0, 1))
def differentiate_both(num_groups, is_activated, x, weight):
    """Returns value and gradients of ours and of Flax's."""

    def differentiate(normalize):
        y, pullback = jax.vjp(normalize, PARAMS, x)
        return y, pullback(weight)

    return [differentiate(normalize) for normalize in ours_and_flax(num_groups, is_activated)]


@pytest.mark.parametrize("is_activated", [True, False])
@pytest.mark.parametrize("num_groups", [1, 3, 12])
@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (3.0, 0.5), (-1e-3, 1e-3)])
def test_value_and_gradient_are_those_of_flax(num_groups, is_activated, offset, scale):
    x, weight = draw(0, offset=offset, scale=scale), draw(3)
    # Both take the variance as E[x^2] - E[x]^2, which loses (E[x]^2 + var) / var of the precision.
    tolerance = 8 * np.finfo(np.float32).eps * (1 + (offset / scale) ** 2)

    def assert_close(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))

    jax.tree.map(assert_close, *differentiate_both(num_groups, is_activated, x, weight))


def test_initial_parameters_are_those_of_flax():
    x = draw(0)
    networks = GroupNorm(3, True, jnp.float32), nn.GroupNorm(3)
    init = jax.jit(lambda key: [network.init(key, x) for network in networks])
    jax.tree.map(np.testing.assert_array_equal, *init(jax.random.key(0)))


def test_bfloat16_in_and_out_but_statistics_in_float32():
    x = draw(0, offset=3.0).astype(jnp.bfloat16)
    ours, _ = ours_and_flax(3, True, jnp.bfloat16)
    exact, _ = ours_and_flax(3, True)
    y, expected = jax.jit(lambda x: (ours(PARAMS, x), exact(PARAMS, x.astype(jnp.float32))))(x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(y), expected, rtol=2**-8, atol=1e-4)
    x_bar = jax.eval_shape(jax.grad(lambda x: ours(PARAMS, x).astype(jnp.float32).sum()), x)
    assert x_bar.dtype == jnp.bfloat16


def test_a_constant_image_gives_the_bias_and_no_gradient_of_its_own():
    x = np.full(SHAPE, 7.0, np.float32)
    ours, _ = ours_and_flax(3, False)
    y, x_bar = jax.jit(lambda x: (ours(PARAMS, x), jax.grad(lambda x: ours(PARAMS, x).sum())(x)))(x)
    np.testing.assert_allclose(y, np.broadcast_to(PARAMS["bias"], SHAPE), atol=1e-3)
    assert np.isfinite(x_bar).all()


def test_a_mapped_client_gets_what_it_gets_alone():
    params = jax.tree.map(lambda p: np.stack([p, 2 * p]), PARAMS)
    xs = np.stack([draw(0), draw(4)])
    ours, _ = ours_and_flax(3, True)

    gradient = jax.grad(lambda params, x: jnp.sum(jnp.square(ours(params, x))))
    mapped = jax.jit(jax.vmap(gradient))(params, xs)
    one = jax.jit(gradient)
    alone = [one(jax.tree.map(lambda p, k=k: p[k], params), xs[k]) for k in range(2)]
    alone = jax.tree.map(lambda *of_clients: np.stack(of_clients), *alone)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), mapped, alone)
