"""Samplers of images from a denoiser: ancestral (Ho et al. 2020) and DDIM (Song et al. 2021).

Both start from x_T ~ N(0, I). At each step they predict x_0 from eps, clip it to [-1, 1], the range
of images, if ``is_clipped``, and draw the next x_t from this one and x_0. A sampler is one
``lax.scan``: under ``jit``, everything but the key and the schedule is static.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fedjax_diffusion.diffusion.ddpm import eps_to_x_0, x_0_to_eps
from fedjax_diffusion.diffusion.schedule import NoiseSchedule
from fedjax_diffusion.keys import step_key
from fedjax_diffusion.types import Array, Key

DenoiseFn: TypeAlias = Callable[[Array, Array], Array]
"""``denoise_fn(x_t [B, H, W, C], t int32 [B]) -> eps [B, H, W, C]``."""


class Sampler(Protocol):
    """The signature of every entry of ``SAMPLERS``."""

    def __call__(
        self,
        key: Key,
        denoise_fn: DenoiseFn,
        schedule: NoiseSchedule,
        shape: tuple[int, ...],
        *,
        num_steps: int | None = None,
        eta: float = 0.0,
        is_clipped: bool = True,
    ) -> Array:
        """Returns images, float32 ``shape``."""
        ...


def sample_ancestral(
    key: Key,
    denoise_fn: DenoiseFn,
    schedule: NoiseSchedule,
    shape: tuple[int, ...],
    *,
    num_steps: int | None = None,
    eta: float = 0.0,
    is_clipped: bool = True,
) -> Array:
    """Draws images by running the Markov chain of T steps backwards.

    x_{t-1} ~ N(mu, beta_tilde I) is the posterior q(x_{t-1} | x_t, x_0) at the predicted x_0:

        mu         = (sqrt(a_{t-1}) beta_t x_0 + sqrt(1 - beta_t) (1 - a_{t-1}) x_t) / (1 - a_t)
        beta_tilde = beta_t (1 - a_{t-1}) / (1 - a_t)

    where a is alpha_bar and a_{-1} = 1. The variance is the smaller of the two in Ho et al. ("fixed
    small"), exact if x_0 is one point. It is zero in the last step, which returns the predicted
    x_0.

    Args:
      key: consumed.
      denoise_fn: predicts eps.
      schedule: of T steps.
      shape: of the result, (B, H, W, C).
      num_steps: None or T; the chain has always T steps.
      eta: 0, the default; only DDIM uses it.
      is_clipped: whether the predicted x_0 is clipped to [-1, 1].

    Returns:
      float32 [B, H, W, C], in [-1, 1] if clipped.

    Raises:
      ValueError: if num_steps is neither None nor T, or if eta is given.

    Source: Ho et al. 2020, Algorithm 2 and equations 6, 7.
    """
    if num_steps not in (None, schedule.num_steps):
        raise ValueError(
            f"num_steps: {num_steps!r} is not allowed, ancestral sampling takes all"
            f" {schedule.num_steps} steps of the schedule"
        )
    if eta != 0:
        raise ValueError(f"eta: {eta!r} is not allowed, it is of ddim; ancestral sampling has none")
    previous_alpha_bars = jnp.append(1.0, schedule.alpha_bars[:-1])
    previous_noise_powers = jnp.append(0.0, schedule.noise_powers[:-1])
    x_0_weights = jnp.sqrt(previous_alpha_bars) * schedule.betas / schedule.noise_powers
    x_t_weights = jnp.sqrt(1 - schedule.betas) * previous_noise_powers / schedule.noise_powers
    scales = jnp.sqrt(schedule.betas * previous_noise_powers / schedule.noise_powers)

    def step(x_t: Array, t: Array) -> tuple[Array, None]:
        x_0, _ = _predict(denoise_fn, schedule, x_t, t, is_clipped)
        noise = jax.random.normal(step_key(key_noise, t), shape, jnp.float32)
        return x_0_weights[t] * x_0 + x_t_weights[t] * x_t + scales[t] * noise, None

    key_start, key_noise = jax.random.split(key)
    x_T = jax.random.normal(key_start, shape, jnp.float32)
    return lax.scan(step, x_T, jnp.arange(schedule.num_steps), reverse=True)[0]


def sample_ddim(
    key: Key,
    denoise_fn: DenoiseFn,
    schedule: NoiseSchedule,
    shape: tuple[int, ...],
    *,
    num_steps: int | None = None,
    eta: float = 0.0,
    is_clipped: bool = True,
) -> Array:
    """Draws images in S steps of a process with DDPM's marginals; eta sets its randomness.

        x_{t'} = sqrt(a') x_0 + sqrt(1 - a' - sigma^2) eps + sigma z,    z ~ N(0, I)
        sigma  = eta sqrt((1 - a') / (1 - a)) sqrt(1 - a / a')

    where a and a' are alpha_bar at t and t', x_0 and eps are predicted at t, and t' is the next of
    the S steps, evenly spaced from T - 1 to 0 (S = 1: T - 1 alone). The last step returns x_0.
    If x_0 was clipped, eps is recomputed from it.

    Args:
      key: consumed; at eta = 0 only for the initial noise.
      denoise_fn: predicts eps.
      schedule: of T steps.
      shape: of the result, (B, H, W, C).
      num_steps: S in 1..T; None is T.
      eta: in [0, 1]; 0 is deterministic.
      is_clipped: whether the predicted x_0 is clipped to [-1, 1].

    Returns:
      float32 [B, H, W, C], in [-1, 1] if clipped.

    Raises:
      ValueError: if num_steps is not an integer in 1..T, or eta is outside of [0, 1].

    Guarantees:
      At eta = 1 and S = T the images are those of ``sample_ancestral`` with this key, up to
      rounding.

    Source: Song, Meng, Ermon 2021, "Denoising Diffusion Implicit Models", equations 12 and 16.
    """
    steps = _space_steps(schedule.num_steps, num_steps)
    if isinstance(eta, bool) or not 0 <= eta <= 1:
        raise ValueError(f"eta: {eta!r} is not a number in [0, 1]")

    def step(x_t: Array, now: tuple[Array, ...]) -> tuple[Array, None]:
        t, x_0_scale, eps_scale, sigma = now
        x_0, eps = _predict(denoise_fn, schedule, x_t, t, is_clipped)
        x_t = x_0_scale * x_0 + eps_scale * eps
        if eta:
            x_t += sigma * jax.random.normal(step_key(key_noise, t), shape, jnp.float32)
        return x_t, None

    key_start, key_noise = jax.random.split(key) if eta else (key, key)
    x_T = jax.random.normal(key_start, shape, jnp.float32)
    return lax.scan(step, x_T, (jnp.asarray(steps), *_ddim_scales(schedule, steps, eta)))[0]


SAMPLERS: dict[str, Sampler] = {"ancestral": sample_ancestral, "ddim": sample_ddim}


def _space_steps(T: int, num_steps: int | None) -> np.ndarray:
    """Returns int32 [S] steps from T - 1 to 0, evenly spaced."""
    num_steps = T if num_steps is None else num_steps
    if type(num_steps) is not int or not 1 <= num_steps <= T:
        raise ValueError(f"num_steps: {num_steps!r} is not an integer in 1..{T}")
    return np.rint(np.linspace(T - 1, 0, num_steps)).astype(np.int32)


def _ddim_scales(
    schedule: NoiseSchedule, steps: np.ndarray, eta: float
) -> tuple[Array, Array, Array]:
    """Returns the factors of x_0, eps and new noise in each of the steps, [S] each."""
    next_alpha_bars = jnp.append(schedule.alpha_bars[steps[1:]], 1.0)
    next_noise_powers = jnp.append(schedule.noise_powers[steps[1:]], 0.0)
    # 1 - a = (1 - a / a') + (a / a') (1 - a'), the noise that a step redraws and that it keeps.
    # So nothing cancels, and no root of a negative number is taken.
    kept = schedule.alpha_bars[steps] / next_alpha_bars
    kept = kept * next_noise_powers / schedule.noise_powers[steps]
    eps_scales = jnp.sqrt(next_noise_powers * (1 - eta**2 + eta**2 * kept))
    sigmas = eta * jnp.sqrt(next_noise_powers * jnp.maximum(1 - kept, 0))
    return jnp.sqrt(next_alpha_bars), eps_scales, sigmas


def _predict(
    denoise_fn: DenoiseFn, schedule: NoiseSchedule, x_t: Array, t: Array, is_clipped: bool
) -> tuple[Array, Array]:
    """Returns the predicted x_0 and the eps that matches it, at the common step ``t`` []."""
    steps = jnp.full(x_t.shape[:1], t)
    eps = denoise_fn(x_t, steps)
    x_0 = eps_to_x_0(schedule, x_t, steps, eps)
    if not is_clipped:
        return x_0, eps
    x_0 = jnp.clip(x_0, -1, 1)
    return x_0, x_0_to_eps(schedule, x_t, steps, x_0)
