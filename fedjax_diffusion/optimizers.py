"""Optax optimizers by name, for clients and server alike."""

from dataclasses import dataclass

import optax

OPTIMIZERS = {
    "sgd": lambda c: optax.sgd(c.learning_rate, momentum=c.momentum or None),
    "adam": lambda c: optax.adam(c.learning_rate),
    "adamw": lambda c: optax.adamw(c.learning_rate, weight_decay=c.weight_decay),
    "yogi": lambda c: optax.yogi(c.learning_rate),
}
"""The optimizers by name."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Which optimizer, and its numbers.

    Attributes:
      name: a key of ``OPTIMIZERS``.
      learning_rate: > 0.
      momentum: in [0, 1), of ``sgd``.
      weight_decay: >= 0, of ``adamw``.
      clip_norm: gradients are scaled down to this global norm first, > 0; None: never.

    Raises:
      ValueError: an unknown name or a number out of range.
    """

    name: str
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self):
        if self.name not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.name!r}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be above 0 or None, got {self.clip_norm}")


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """Returns the optax optimizer that ``config`` describes, with clipping in front."""
    optimizer = OPTIMIZERS[config.name](config)
    if config.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)
