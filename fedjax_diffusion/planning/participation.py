"""Random inputs of a round: its cohort and its channel."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.edge import ChannelState, DeviceParams
from fedjax_diffusion.keys import Stream, stream_key
from fedjax_diffusion.types import Key


class RoundConditions(NamedTuple):
    """Random inputs of a round. They depend only on its number, so they can be drawn ahead.

    Attributes:
      cohort: int32 [M], client ids, ascending.
      channel: of all K clients.
    """

    cohort: np.ndarray
    channel: ChannelState


DrawConditions = Callable[[Key, int], RoundConditions]
"""``draw(run_key, round) -> RoundConditions``."""


def make_draw_conditions(
    devices: DeviceParams,
    draw_channel: Callable[[Key, int, DeviceParams], ChannelState],
    num_clients: int,
    cohort_size: int | None = None,
) -> DrawConditions:
    """Returns the function that draws the conditions of each round.

    Args:
      devices: the fleet, [K].
      draw_channel: ``(run_key, round, devices) -> ChannelState``.
      num_clients: K.
      cohort_size: M in 1..K; None is K.

    Raises:
      ValueError: ``cohort_size`` is out of range.
    """
    size = num_clients if cohort_size is None else cohort_size
    if not 1 <= size <= num_clients:
        raise ValueError(f"cohort_size must be in 1..{num_clients} (clients), got {size}")

    def draw(run_key: Key, round: int) -> RoundConditions:
        cohort = draw_cohort(run_key, round, num_clients, size)
        return RoundConditions(cohort, draw_channel(run_key, round, devices))

    return draw


def draw_cohort(run_key: Key, round: int, num_clients: int, cohort_size: int) -> np.ndarray:
    """Draws the round's clients without replacement, int32 [M], ascending; all clients if M = K."""
    if cohort_size == num_clients:
        return np.arange(num_clients, dtype=np.int32)
    key = stream_key(run_key, Stream.COHORT, round)
    clients = jnp.arange(num_clients, dtype=jnp.int32)
    drawn = jax.random.choice(key, clients, (cohort_size,), replace=False)
    return np.sort(np.asarray(drawn)).astype(np.int32)
