"""The forward process and the training loss of Ho et al. (2020), Algorithm 1.

``x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps``, so any two of x_0, x_t and eps give the
third.
"""

from typing import Protocol

import chex
import jax
import jax.numpy as jnp

from fedjax_diffusion.diffusion.schedule import NoiseSchedule
from fedjax_diffusion.types import Array, Batch, Key, Params

NO_LABEL = -1
"""The label of an image without a given class."""


class DenoiserApply(Protocol):
    """``apply(params, x_t [B, H, W, C], t [B], dropout_key=None, labels=None) -> eps``."""

    def __call__(
        self,
        params: Params,
        x_t: Array,
        t: Array,
        dropout_key: Key | None = None,
        labels: Array | None = None,
        /,
    ) -> Array:
        """Returns the predicted eps [B, H, W, C].

        Deterministic if ``dropout_key`` is None; ``labels`` int32 [B], ``NO_LABEL`` or None for
        images without a given class.
        """
        ...


def q_sample(schedule: NoiseSchedule, x_0: Array, t: Array, eps: Array) -> Array:
    """Returns x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps.

    Args:
      schedule: of T steps.
      x_0: float32 [B, ...], clean images.
      t: int32 [B] in 0..T-1.
      eps: float32 [B, ...], standard normal.

    Returns:
      x_t: float32 [B, ...].

    Source: Ho et al. 2020, equation 4.
    """
    signal, noise = _signal_and_noise(schedule, x_0, t)
    return signal * x_0 + noise * eps


def eps_to_x_0(schedule: NoiseSchedule, x_t: Array, t: Array, eps: Array) -> Array:
    """Returns x_0 = (x_t - sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_bar_t), shapes of q_sample."""
    signal, noise = _signal_and_noise(schedule, x_t, t)
    return (x_t - noise * eps) / signal


def x_0_to_eps(schedule: NoiseSchedule, x_t: Array, t: Array, x_0: Array) -> Array:
    """Returns eps = (x_t - sqrt(alpha_bar_t) x_0) / sqrt(1 - alpha_bar_t), shapes of q_sample."""
    signal, noise = _signal_and_noise(schedule, x_t, t)
    return (x_t - signal * x_0) / noise


def ddpm_loss(
    denoiser_apply: DenoiserApply,
    schedule: NoiseSchedule,
    params: Params,
    batch: Batch,
    key: Key,
    *,
    label_dropout: float | None = None,
) -> Array:
    """Returns the mean of (eps - eps_theta(x_t, t))^2 over images, pixels and channels.

    Each image draws its own t, uniform in 0..T-1, and its own eps. Bind the first two arguments
    (``functools.partial``) to obtain a ``LossFn``.

    Args:
      denoiser_apply: predicts eps.
      schedule: of T steps.
      params: of the denoiser.
      batch: images [B, H, W, C] in [-1, 1], labels [B].
      key: consumed: for t, eps, the denoiser's dropout and that of the labels.
      label_dropout: None: labels are not used. In [0, 1]: eps_theta gets the labels, each replaced
        by ``NO_LABEL`` with this probability, so it learns both cases for classifier-free guidance.

    Returns:
      float32 [].

    Guarantees:
      t and eps are the same with labels and without.

    Source: Ho et al. 2020, Algorithm 1 and equation 14; with labels Ho and Salimans 2022,
    Algorithm 1.
    """
    chex.assert_rank(batch.images, 4)
    key_t, key_eps, key_dropout = jax.random.split(key, 3)
    t = jax.random.randint(key_t, batch.images.shape[:1], 0, schedule.num_steps, jnp.int32)
    eps = jax.random.normal(key_eps, batch.images.shape, jnp.float32)
    x_t = q_sample(schedule, batch.images, t, eps)
    if label_dropout is None:
        predicted = denoiser_apply(params, x_t, t, key_dropout)
    else:
        key_dropout, key_labels = jax.random.split(key_dropout)
        labels = drop_labels(key_labels, batch.labels, label_dropout)
        predicted = denoiser_apply(params, x_t, t, key_dropout, labels)
    chex.assert_equal_shape([predicted, eps])
    return jnp.mean(jnp.square(predicted - eps))


def drop_labels(key: Key, labels: Array, rate: float) -> Array:
    """Returns labels int32 [B], each independently ``NO_LABEL`` with probability ``rate``."""
    return jnp.where(jax.random.bernoulli(key, jnp.float32(rate), labels.shape), NO_LABEL, labels)


def _signal_and_noise(schedule: NoiseSchedule, x: Array, t: Array) -> tuple[Array, Array]:
    """Returns sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), [B, 1, ...] with the rank of ``x``."""
    chex.assert_shape(t, x.shape[:1])
    shape = (-1,) + (1,) * (x.ndim - 1)
    signal, noise = jnp.sqrt(schedule.alpha_bars[t]), jnp.sqrt(schedule.noise_powers[t])
    return signal.reshape(shape), noise.reshape(shape)
