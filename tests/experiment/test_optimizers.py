"""Optimizers by name: each goes downhill, gradients are clipped first, bad numbers are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fedjax_diffusion.experiment.optimizers import OPTIMIZERS, OptimizerConfig, make_optimizer

START = jnp.array([3.0, -2.0])


def quadratic(w):
    return jnp.vdot(jnp.array([1.0, 0.1]), jnp.square(w)) / 2


def train(config, num_steps):
    """Returns the point after some steps downhill from ``START``."""
    optimizer = make_optimizer(config)

    @jax.jit
    def run(w):
        def step(carry, _):
            w, state = carry
            updates, state = optimizer.update(jax.grad(quadratic)(w), state, w)
            return (optax.apply_updates(w, updates), state), None

        return jax.lax.scan(step, (w, optimizer.init(w)), length=num_steps)[0][0]

    return run(START)


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_downhill(name, clip_norm):
    config = OptimizerConfig(name, 0.1, clip_norm=clip_norm)
    assert quadratic(train(config, 60)) < 0.5 * quadratic(START)


def test_momentum_follows_its_formula():
    w, m = np.array(START, float), np.zeros(2)
    for _ in range(5):
        m = 0.9 * m + np.array([1.0, 0.1]) * w
        w = w - 0.1 * m
    np.testing.assert_allclose(train(OptimizerConfig("sgd", 0.1, momentum=0.9), 5), w, rtol=1e-5)


def test_weight_decay_of_adamw_pulls_to_zero():
    """One step of AdamW: a unit step against the gradient's sign, and the decay beside it."""
    expected = np.array(START) - 0.1 * (np.sign(START) + 0.3 * np.array(START))
    config = OptimizerConfig("adamw", 0.1, weight_decay=0.3)
    np.testing.assert_allclose(train(config, 1), expected, rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_vector_is_updated_like_its_tensors_by_a_shorter_program(name):
    # Three updates of at most 0.1 on numbers near 1, in another order of float32 operations.
    config = OptimizerConfig(name, 0.1, momentum=0.9, weight_decay=0.01, clip_norm=1.0)
    rng = np.random.default_rng(0)
    params = {str(n): rng.normal(size=(n, 3)).astype(np.float32) for n in range(1, 13)}

    def make_step(is_flat):
        optimizer = make_optimizer(config, is_flat=is_flat)

        def step(params):
            def update(_, carry):
                params, state = carry
                updates, state = optimizer.update(jax.tree.map(jnp.sin, params), state, params)
                return optax.apply_updates(params, updates), state

            return jax.lax.fori_loop(0, 3, update, (params, optimizer.init(params)))[0]

        return jax.jit(step).lower(params)

    plain, flat = make_step(False), make_step(True)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        plain.compile()(params),
        flat.compile()(params),
    )
    if name != "sgd":
        lengths = [len(lowered.as_text().splitlines()) for lowered in (plain, flat)]
        assert lengths[1] < 0.7 * lengths[0]


@pytest.mark.parametrize("clip_norm", [0.5, 1e3])
def test_a_gradient_is_scaled_down_to_the_norm_and_never_up(clip_norm):
    gradient = np.array([1.0, 0.1]) * np.array(START)
    scale = min(1.0, clip_norm / np.linalg.norm(gradient))
    config = OptimizerConfig("sgd", 0.1, clip_norm=clip_norm)
    np.testing.assert_allclose(train(config, 1), START - 0.1 * scale * gradient, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "lion"}, "^name must be one of sgd, adam, adamw, yogi, got 'lion'"),
        ({"learning_rate": 0.0}, r"^learning_rate must be a number in \[1e-37, 3e38\], got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number in .*, got nan"),
        ({"momentum": 1.0}, r"momentum must be a number in \[0, 1\), got 1.0"),
        ({"weight_decay": -0.1}, r"weight_decay must be a number in \[0, 3e38\], got -0.1"),
        ({"clip_norm": 0.0}, "clip_norm must be a number in .* or None, got 0.0"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**({"name": "sgd", "learning_rate": 0.1} | changes))
