"""Optax optimizers by name, for clients and server alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import optax

from fedjax_diffusion.values import Fraction, OneOf, Rate, Weight, check_fields


class OptimizerRates(NamedTuple):
    """Numbers of an optimizer that may be traced: they change without another compilation.

    Attributes:
      learning_rate: of all optimizers; None: 1, and nothing is multiplied.
      momentum: of ``sgd``; None: 0, without its state.
      weight_decay: of ``adamw``; None: 0, without its term.
    """

    learning_rate: Any
    momentum: Any
    weight_decay: Any


OPTIMIZERS: dict[str, Callable[[OptimizerRates], optax.GradientTransformation]] = {
    "sgd": lambda rates: optax.sgd(rates.learning_rate, momentum=rates.momentum),
    "adam": lambda rates: optax.adam(rates.learning_rate),
    "adamw": lambda rates: optax.adamw(rates.learning_rate, weight_decay=rates.weight_decay),
    "yogi": lambda rates: optax.yogi(rates.learning_rate),
}
"""Optimizers by name."""


def _decay_by_cosine(num_rounds: Any) -> optax.Schedule:
    """Returns ``optax.cosine_decay_schedule(1.0, num_rounds)`` for a number that may be traced."""
    return lambda n: 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(n, num_rounds) / num_rounds))


ROUND_SCHEDULES: dict[str, Callable[[Any], optax.Schedule | None]] = {
    "constant": lambda num_rounds: None,
    "cosine": _decay_by_cosine,
}
"""Learning-rate multipliers per round by name."""


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer and its settings.

    Attributes:
      name: a key of ``OPTIMIZERS``.
      learning_rate: step size, in [1e-37, 3e38].
      momentum: of ``sgd``, in [0, 1).
      weight_decay: of ``adamw``, in [0, 3e38].
      clip_norm: largest global norm of the gradient, which is scaled down to it, in [1e-37, 3e38];
        None: no clipping.

    Raises:
      ValueError: an unknown name or a number out of range.
    """

    name: Annotated[str, OneOf(OPTIMIZERS)]
    learning_rate: Rate
    momentum: Fraction = 0.0
    weight_decay: Weight = 0.0
    clip_norm: Rate | None = None

    def __post_init__(self):
        check_fields(self)

    @property
    def rates(self) -> OptimizerRates:
        """Its numbers that may be traced."""
        rate = None if self.learning_rate == 1 else self.learning_rate
        return OptimizerRates(rate, self.momentum or None, self.weight_decay or None)

    @property
    def static(self) -> "OptimizerConfig":
        """The same optimizer without these numbers."""
        return OptimizerConfig(self.name, learning_rate=1.0, clip_norm=self.clip_norm)


def make_round_schedule(name: str, num_rounds: Any) -> optax.Schedule | None:
    """Returns the learning-rate multiplier per round, or None for a constant rate.

    Args:
      name: ``"constant"``, or ``"cosine"``: ``(1 + cos(pi n / num_rounds)) / 2``.
      num_rounds: of the run, a number that may be traced.

    Raises:
      ValueError: an unknown name.
    """
    if name not in ROUND_SCHEDULES:
        known = ", ".join(ROUND_SCHEDULES)
        raise ValueError(f"round_schedule must be one of {known}, got {name!r}")
    return ROUND_SCHEDULES[name](num_rounds)


def make_optimizer(
    config: OptimizerConfig, rates: OptimizerRates | None = None, *, is_flat: bool = False
) -> optax.GradientTransformation:
    """Returns the optax optimizer of a config, after the clipping of gradients.

    Args:
      config: the optimizer.
      rates: replace those of the config; they may be traced.
      is_flat: update all tensors as one vector. The numbers are equal up to rounding; the program
        of a model with hundreds of tensors is much shorter, and a GPU starts a few kernels per step
        instead of several per tensor. The optimizer's state is flat, too.
    """
    rates = config.rates if rates is None else rates
    if rates.learning_rate is None:
        rates = rates._replace(learning_rate=1.0)
    if rates.weight_decay is None:
        rates = rates._replace(weight_decay=0.0)
    optimizer = OPTIMIZERS[config.name](rates)
    if config.clip_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)
    return optax.flatten(optimizer) if is_flat else optimizer
