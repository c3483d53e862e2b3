"""The server's rules for the average: the updates that count, and the average that resists some."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp

from fedjax_diffusion.types import Array, Params
from fedjax_diffusion.values import OneOf, Range, Rate, check_value

MEAN, TRIMMED_MEAN, MEDIAN = AVERAGES = ("mean", "trimmed_mean", "median")
NumTrimmed: TypeAlias = Annotated[int, Range(1, 2**24)]
"""Whole numbers up to 2^24 are exact in float32, which the compiled round is given."""


@dataclass(frozen=True)
class Averaging:
    """Settings of the average of the clients' updates.

    ``mean`` weights each client by its examples, and takes the memory of one update. The other two
    treat each entry of the model by itself, count every client the same, and keep all updates (Yin
    et al. 2018, definitions 1 and 2): ``trimmed_mean`` leaves out the ``num_trimmed`` smallest and
    largest values of an entry, ``median`` all but the middle one, or two. As long as no more than
    ``num_trimmed`` clients fail, or fewer than half, no entry leaves the range of the others.

    Attributes:
      average: one of ``AVERAGES``.
      num_trimmed: 1..2^24, for ``trimmed_mean``; of fewer than ``2 num_trimmed + 1`` updates their
        median remains. An array, which may be traced, is not checked.
      max_update_norm: in [1e-37, 3e38], largest norm of a client's update, before its
        quantization; a client above it has diverged, and sends nothing. None: no limit. An array
        is not checked.

    Raises:
      ValueError: a value is out of range.
    """

    average: str = MEAN
    num_trimmed: int | Array = 1
    max_update_norm: float | Array | None = None

    def __post_init__(self):
        check_value("federated.average", self.average, Annotated[str, OneOf(AVERAGES)])
        if not isinstance(self.num_trimmed, jax.Array):
            check_value("federated.num_trimmed", self.num_trimmed, NumTrimmed)
        if not isinstance(self.max_update_norm, jax.Array):
            check_value("federated.max_update_norm", self.max_update_norm, Rate | None)

    @property
    def keeps_updates(self) -> bool:
        """Whether the average needs all updates at once."""
        return self.average != MEAN

    def combine(self, updates: Array, is_included: Array) -> Array:
        """Returns the trimmed mean or the median of the included updates; zeros without any.

        Args:
          updates: float32 [M, ...], finite.
          is_included: bool [M].

        >>> updates = jnp.array([[1.0], [5.0], [3.0], [99.0]])
        >>> included = jnp.array([True, True, True, False])
        >>> jax.jit(Averaging("median").combine)(updates, included).tolist()
        [3.0]
        """
        chosen = len(updates) if self.average == MEDIAN else self.num_trimmed
        num_included = is_included.sum()
        num_trimmed = jnp.maximum(jnp.minimum(chosen, (num_included - 1) // 2), 0)
        place = jnp.arange(len(updates))
        is_kept = (place >= num_trimmed) & (place < num_included - num_trimmed)
        shape = (-1, *[1] * (updates.ndim - 1))
        ordered = jnp.sort(jnp.where(is_included.reshape(shape), updates, jnp.inf), axis=0)
        # Their sum may leave float32 where the mean does not.
        shares = ordered / jnp.maximum(is_kept.sum(), 1)
        return jnp.where(is_kept.reshape(shape), shares, 0.0).sum(axis=0)


GivenAveraging = Averaging | Callable[[Any], Averaging]
"""Settings, or a function of the hyperparameters that returns them."""


def update_norm(trained: Params, received: Params) -> Array:
    """Returns the norm of a client's update, float32 []; above 1.8e19 it is infinite."""
    squares = jax.tree.map(lambda w, w0: jnp.sum(jnp.square(w - w0)), trained, received)
    return jnp.sqrt(sum(jax.tree.leaves(squares), start=jnp.float32(0)))
