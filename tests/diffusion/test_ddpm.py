"""The forward process and the loss against NumPy and against known moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.diffusion import (
    NO_LABEL,
    ddpm_loss,
    drop_labels,
    eps_to_x_0,
    linear_schedule,
    q_sample,
    x_0_to_eps,
)
from fedjax_diffusion.types import Batch

SCHEDULE = linear_schedule(100)


def make_batch(B):
    images = np.random.default_rng(0).uniform(-1, 1, (B, 4, 4, 1))
    return Batch(images.astype(np.float32), np.zeros(B, np.int32))


@pytest.mark.parametrize("t", [0, 40, 99])
def test_q_sample_has_the_moments_of_the_forward_process(t):
    N, x_0 = 100_000, 0.7

    @jax.jit
    def draw(key, t):
        eps = jax.random.normal(key, (N, 1))
        return q_sample(SCHEDULE, jnp.full((N, 1), x_0), jnp.full(N, t), eps)

    x_t = np.asarray(draw(jax.random.key(t), t), np.float64)
    alpha_bar = np.prod(1 - np.asarray(SCHEDULE.betas, np.float64)[: t + 1])
    variance = 1 - alpha_bar
    assert abs(x_t.mean() - np.sqrt(alpha_bar) * x_0) < 5 * np.sqrt(variance / N)
    assert abs(x_t.var() - variance) < 5 * variance * np.sqrt(2 / N)


def test_conversions_invert_q_sample():
    x_0, eps = make_batch(10).images, np.random.default_rng(1).normal(size=(10, 4, 4, 1))
    t = np.arange(10) * 9

    @jax.jit
    def convert(x_0, eps):
        x_t = q_sample(SCHEDULE, x_0, t, eps)
        return eps_to_x_0(SCHEDULE, x_t, t, eps), x_0_to_eps(SCHEDULE, x_t, t, x_0)

    found_x_0, found_eps = convert(x_0, np.float32(eps))
    np.testing.assert_allclose(found_x_0, x_0, atol=1e-4)
    np.testing.assert_allclose(found_eps, eps, atol=1e-4)


@jax.jit
def observed_loss(batch, params, key):
    """Returns the loss, and what its denoiser ``params x_t`` was given."""
    calls = []

    def denoiser_apply(params, x_t, t, dropout_key):
        calls.append((x_t, t, dropout_key))
        return params * x_t

    loss = ddpm_loss(denoiser_apply, SCHEDULE, params, batch, key)
    (seen,) = calls
    return loss, *seen


def test_loss_is_the_mean_squared_error_of_eps():
    params = 0.3
    loss, x_t, t, dropout_key = observed_loss(make_batch(16), params, jax.random.key(0))
    alpha_bar = np.cumprod(1 - np.asarray(SCHEDULE.betas, np.float64))[t].reshape(-1, 1, 1, 1)
    x_0 = np.asarray(make_batch(16).images, np.float64)
    eps = (x_t - np.sqrt(alpha_bar) * x_0) / np.sqrt(1 - alpha_bar)
    assert loss.shape == ()
    np.testing.assert_allclose(loss, np.mean((eps - params * x_t) ** 2), rtol=1e-5)
    assert jax.dtypes.issubdtype(dropout_key.dtype, jax.dtypes.prng_key)


def test_loss_draws_t_uniformly_and_eps_normally():
    B = 20_000
    batch = make_batch(B)
    _, x_t, t, _ = observed_loss(batch, 0.0, jax.random.key(1))
    counts = np.bincount(t, minlength=100)
    assert counts.shape == (100,)
    p = 1 / 100
    assert (abs(counts - B * p) < 5 * np.sqrt(B * p * (1 - p))).all()
    # The zero denoiser's loss is the mean of eps^2: 1, with variance 2 over the number of entries.
    loss = observed_loss(batch, 0.0, jax.random.key(2))[0]
    assert abs(float(loss) - 1) < 5 * np.sqrt(2 / x_t.size)


def test_each_key_has_its_own_draws():
    batch = make_batch(16)
    losses = [float(observed_loss(batch, 0.0, jax.random.key(seed))[0]) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_a_denoiser_of_the_wrong_shape_is_refused():
    with pytest.raises(AssertionError, match="shape"):
        jax.eval_shape(
            lambda batch, key: ddpm_loss(lambda p, x, t, k: x[:, :1], SCHEDULE, None, batch, key),
            make_batch(2),
            jax.random.key(0),
        )


def test_labels_are_dropped_at_their_rate_whatever_they_are():
    N, rate = 100_000, 0.1
    labels, drop = np.arange(N, dtype=np.int32) % 10, jax.jit(drop_labels)
    kept = np.asarray(drop(jax.random.key(0), labels, rate)).reshape(-1, 10)
    is_dropped = kept == NO_LABEL
    np.testing.assert_array_equal(
        kept[~is_dropped], (np.zeros_like(kept) + np.arange(10))[~is_dropped]
    )
    n = N // 10
    assert (abs(is_dropped.mean(axis=0) - rate) < 5 * np.sqrt(rate * (1 - rate) / n)).all()
    # Neighbours are independent: both of a pair are dropped at rate^2.
    pairs = (is_dropped[:, ::2] & is_dropped[:, 1::2]).mean()
    assert abs(pairs - rate**2) < 5 * np.sqrt(rate**2 * (1 - rate**2) / (N / 2))
    for certain, expected in ((0.0, labels), (1.0, np.full(N, NO_LABEL))):
        np.testing.assert_array_equal(drop(jax.random.key(1), labels, certain), expected)


def test_the_loss_with_labels_gives_them_to_the_denoiser_and_changes_nothing_else():
    batch = Batch(make_batch(16).images, np.arange(16, dtype=np.int32))

    @jax.jit
    def observe(key):
        calls = []

        def denoiser_apply(params, x_t, t, dropout_key, labels=None):
            calls.append((x_t, t, labels))
            return params * x_t

        losses = [
            ddpm_loss(denoiser_apply, SCHEDULE, 0.3, batch, key, label_dropout=rate)
            for rate in (None, 0.0, 1.0)
        ]
        return losses, calls

    losses, calls = observe(jax.random.key(0))
    assert losses[0] == losses[1] == losses[2]
    for call in calls[1:]:
        jax.tree.map(np.testing.assert_array_equal, call[:2], calls[0][:2])
    assert calls[0][2] is None
    np.testing.assert_array_equal(calls[1][2], batch.labels)
    np.testing.assert_array_equal(calls[2][2], NO_LABEL)
