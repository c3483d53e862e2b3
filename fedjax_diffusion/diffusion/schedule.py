"""Noise schedules over the diffusion steps: linear and cosine."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, TypeAlias

import flax.struct
import jax
import numpy as np

from fedjax_diffusion.types import Array
from fedjax_diffusion.values import OneOf, Range, check_value

NumSteps: TypeAlias = Annotated[int, Range(1, 1_000_000)]


@flax.struct.dataclass
class NoiseSchedule:
    r"""The forward process q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I) of T steps.

    alpha_bar_t = prod_{s <= t} (1 - beta_s), so that q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0,
    (1 - alpha_bar_t) I). Steps count from 0 here: index t is step t + 1 of Ho et al. (2020).

    Attributes:
      betas: float32 [T] in (0, 1), the variance that each step adds.
      alpha_bars: float32 [T] in (0, 1), decreasing, the remaining power of the signal.
      noise_powers: float32 [T] in (0, 1], 1 - alpha_bars, rounded once: if alpha_bar is close to 1,
        a float32 difference would lose most of its digits.
    """

    betas: Array
    alpha_bars: Array
    noise_powers: Array

    @property
    def num_steps(self) -> int:
        """Number of steps T, a static Python integer."""
        return self.betas.shape[0]


def linear_schedule(num_steps: int) -> NoiseSchedule:
    r"""Returns Ho et al.'s schedule, beta evenly spaced in [1e-4, 0.02] at T = 1000.

    beta_t = (1000 / T) (1e-4 + (0.02 - 1e-4) t / (T - 1)), at most 0.999: for T other than 1000 the
    betas grow in proportion, so that the last alpha_bar stays about 4e-5 (T = 1 takes the first).

    Args:
      num_steps: T in 1..1,000,000.

    Raises:
      ValueError: if num_steps is not in 1..1,000,000.

    Source: Ho, Jain, Abbeel 2020, "Denoising Diffusion Probabilistic Models", section 4.

    >>> schedule = linear_schedule(1000)
    >>> [round(float(beta), 6) for beta in (schedule.betas[0], schedule.betas[-1])]
    [0.0001, 0.02]
    """
    check_value("num_steps", num_steps, NumSteps)
    return _betas_to_schedule(1000 / num_steps * np.linspace(1e-4, 0.02, num_steps))


def cosine_schedule(num_steps: int) -> NoiseSchedule:
    r"""Returns Nichol and Dhariwal's schedule, with alpha_bar a squared cosine of time.

    beta_t = min(1 - f(t + 1) / f(t), 0.999), f(t) = cos((t / T + s) / (1 + s) pi / 2)^2, s = 0.008.

    Args:
      num_steps: T in 1..1,000,000.

    Raises:
      ValueError: if num_steps is not in 1..1,000,000.

    Source: Nichol, Dhariwal 2021, "Improved Denoising Diffusion Probabilistic Models", equation 17.
    """
    check_value("num_steps", num_steps, NumSteps)
    f = np.cos((np.arange(num_steps + 1) / num_steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return _betas_to_schedule(1 - f[1:] / f[:-1])


SCHEDULES: Mapping[str, Callable[[int], NoiseSchedule]] = MappingProxyType(
    {"linear": linear_schedule, "cosine": cosine_schedule}
)


def make_schedule(name: str, num_steps: int) -> NoiseSchedule:
    """Returns the schedule ``SCHEDULES[name]`` of ``num_steps`` steps.

    Raises:
      ValueError: unknown name, or num_steps is out of range.
    """
    check_value("diffusion.name", name, Annotated[str, OneOf(SCHEDULES)])
    check_value("diffusion.num_steps", num_steps, NumSteps)
    return SCHEDULES[name](num_steps)


def _betas_to_schedule(betas: np.ndarray) -> NoiseSchedule:
    betas = np.minimum(betas, 0.999)
    alpha_bars = np.cumprod(1 - betas)
    parts = map(np.float32, (betas, alpha_bars, 1 - alpha_bars))
    return NoiseSchedule(*jax.device_put(tuple(parts)))  # ``jnp.asarray`` would compile programs
