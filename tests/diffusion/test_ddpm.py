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
    return Batch(jnp.asarray(images, jnp.float32), jnp.zeros(B, jnp.int32))


@pytest.mark.parametrize("t", [0, 40, 99])
def test_q_sample_has_the_moments_of_the_forward_process(t):
    N, x_0 = 100_000, 0.7
    eps = jax.random.normal(jax.random.key(t), (N, 1))
    x_t = np.asarray(q_sample(SCHEDULE, jnp.full((N, 1), x_0), jnp.full(N, t), eps), np.float64)
    alpha_bar = np.prod(1 - np.asarray(SCHEDULE.betas, np.float64)[: t + 1])
    variance = 1 - alpha_bar
    assert abs(x_t.mean() - np.sqrt(alpha_bar) * x_0) < 5 * np.sqrt(variance / N)
    assert abs(x_t.var() - variance) < 5 * variance * np.sqrt(2 / N)


def test_conversions_invert_q_sample():
    x_0, eps = make_batch(10).images, jax.random.normal(jax.random.key(0), (10, 4, 4, 1))
    t = jnp.arange(10) * 9
    x_t = q_sample(SCHEDULE, x_0, t, eps)
    np.testing.assert_allclose(eps_to_x_0(SCHEDULE, x_t, t, eps), x_0, atol=1e-4)
    np.testing.assert_allclose(x_0_to_eps(SCHEDULE, x_t, t, x_0), eps, atol=1e-4)


def observed_loss(B, params, key):
    """Returns the loss, and what its denoiser ``params x_t`` was given."""
    calls = []

    def denoiser_apply(params, x_t, t, dropout_key):
        calls.append((np.asarray(x_t, np.float64), np.asarray(t), dropout_key))
        return params * x_t

    loss = ddpm_loss(denoiser_apply, SCHEDULE, params, make_batch(B), key)
    (seen,) = calls
    return loss, *seen


def test_loss_is_the_mean_squared_error_of_eps():
    params = 0.3
    loss, x_t, t, dropout_key = observed_loss(16, params, jax.random.key(0))
    alpha_bar = np.cumprod(1 - np.asarray(SCHEDULE.betas, np.float64))[t].reshape(-1, 1, 1, 1)
    x_0 = np.asarray(make_batch(16).images, np.float64)
    eps = (x_t - np.sqrt(alpha_bar) * x_0) / np.sqrt(1 - alpha_bar)
    assert loss.shape == ()
    np.testing.assert_allclose(loss, np.mean((eps - params * x_t) ** 2), rtol=1e-5)
    assert jax.dtypes.issubdtype(dropout_key.dtype, jax.dtypes.prng_key)


def test_loss_draws_t_uniformly_and_eps_normally():
    B = 20_000
    _, x_t, t, _ = observed_loss(B, 0.0, jax.random.key(1))
    counts = np.bincount(t, minlength=100)
    assert counts.shape == (100,)
    p = 1 / 100
    assert (abs(counts - B * p) < 5 * np.sqrt(B * p * (1 - p))).all()
    # The zero denoiser's loss is the mean of eps^2: 1, with variance 2 over the number of entries.
    loss = observed_loss(B, 0.0, jax.random.key(2))[0]
    assert abs(float(loss) - 1) < 5 * np.sqrt(2 / x_t.size)


def test_each_key_has_its_own_draws():
    losses = [float(observed_loss(4, 0.0, jax.random.key(seed))[0]) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_a_denoiser_of_the_wrong_shape_is_refused():
    with pytest.raises(AssertionError, match="shape"):
        ddpm_loss(lambda p, x, t, k: x[:, :1], SCHEDULE, None, make_batch(2), jax.random.key(0))


def test_labels_are_dropped_at_their_rate_whatever_they_are():
    N, rate = 100_000, 0.1
    labels = jnp.arange(N, dtype=jnp.int32) % 10
    kept = np.asarray(drop_labels(jax.random.key(0), labels, rate)).reshape(-1, 10)
    is_dropped = kept == NO_LABEL
    np.testing.assert_array_equal(
        kept[~is_dropped], (np.zeros_like(kept) + np.arange(10))[~is_dropped]
    )
    n = N // 10
    assert (abs(is_dropped.mean(axis=0) - rate) < 5 * np.sqrt(rate * (1 - rate) / n)).all()
    # Neighbours are independent: both of a pair are dropped at rate^2.
    pairs = (is_dropped[:, ::2] & is_dropped[:, 1::2]).mean()
    assert abs(pairs - rate**2) < 5 * np.sqrt(rate**2 * (1 - rate**2) / (N / 2))
    for certain, expected in ((0.0, labels), (1.0, jnp.full(N, NO_LABEL))):
        np.testing.assert_array_equal(drop_labels(jax.random.key(1), labels, certain), expected)


def test_the_loss_with_labels_gives_them_to_the_denoiser_and_changes_nothing_else():
    batch = Batch(make_batch(16).images, jnp.arange(16, dtype=jnp.int32))
    calls = []

    def denoiser_apply(params, x_t, t, dropout_key, labels=None):
        calls.append((x_t, t, labels))
        return params * x_t

    losses = [
        ddpm_loss(denoiser_apply, SCHEDULE, 0.3, batch, jax.random.key(0), label_dropout=rate)
        for rate in (None, 0.0, 1.0)
    ]
    assert losses[0] == losses[1] == losses[2]
    for call in calls[1:]:
        jax.tree.map(np.testing.assert_array_equal, call[:2], calls[0][:2])
    assert calls[0][2] is None
    np.testing.assert_array_equal(calls[1][2], batch.labels)
    np.testing.assert_array_equal(calls[2][2], NO_LABEL)
