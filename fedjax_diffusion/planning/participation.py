"""Random inputs of a round: its cohort and its channel."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.edge import ChannelState, DeviceParams
from fedjax_diffusion.host.platforms import cpu_device
from fedjax_diffusion.keys import Stream, stream_key
from fedjax_diffusion.types import Array, Key


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
_ROUNDS_AHEAD = 64
"""Rounds that are drawn in one call; a call costs as much as many rounds in it."""
_CLIENTS_AHEAD = 2**20
"""Of all these rounds together, so that a large fleet takes little memory."""


def make_draw_conditions(
    devices: DeviceParams,
    draw_channel: Callable[[Key, np.ndarray, DeviceParams], ChannelState],
    num_clients: int,
    cohort_size: int | None = None,
) -> DrawConditions:
    """Returns the function that draws the conditions of each round, many rounds in one call.

    Args:
      devices: the fleet, [K].
      draw_channel: ``(run_key, rounds [R], devices) -> ChannelState`` of [R, K].
      num_clients: K.
      cohort_size: M in 1..K; None is K.

    Raises:
      ValueError: ``cohort_size`` is out of range.
    """
    size = num_clients if cohort_size is None else cohort_size
    if not 1 <= size <= num_clients:
        raise ValueError(f"cohort_size must be in 1..{num_clients} (clients), got {size}")
    num_ahead = max(1, min(_ROUNDS_AHEAD, _CLIENTS_AHEAD // num_clients))
    kept: _Drawn | None = None

    def draw(run_key: Key, round: int) -> RoundConditions:
        nonlocal kept
        first = round - round % num_ahead
        if kept is None or kept.run_key is not run_key or kept.first != first:
            rounds = np.arange(first, first + num_ahead, dtype=np.int32)
            cohorts = draw_cohort(run_key, rounds, num_clients, size)
            kept = _Drawn(run_key, first, cohorts, draw_channel(run_key, rounds, devices).gain)
        gain = kept.gain[round - first]
        return RoundConditions(kept.cohorts[round - first], ChannelState(gain))

    return draw


class _Drawn(NamedTuple):
    """The conditions of some rounds: cohorts [R, M] and gains [R, K]."""

    run_key: Key
    first: int
    cohorts: np.ndarray
    gain: np.ndarray


def draw_cohort(
    run_key: Key, rounds: int | np.ndarray, num_clients: int, cohort_size: int
) -> np.ndarray:
    """Draws the clients of a round without replacement, int32 [M], ascending; all if M = K.

    Args:
      run_key: [], the run's key.
      rounds: the federated round, or several, int [R]: then the cohorts are [R, M].
      num_clients: K.
      cohort_size: M in 1..K.
    """
    shape = (*np.shape(rounds), cohort_size)
    if cohort_size == num_clients:
        return np.broadcast_to(np.arange(num_clients, dtype=np.int32), shape)
    with jax.default_device(cpu_device()):  # so that it does not wait for an accelerator
        flat = np.atleast_1d(np.asarray(rounds, np.int32))
        drawn = np.asarray(_choose(run_key, flat, num_clients, cohort_size))
    return np.sort(drawn).astype(np.int32).reshape(shape)


@functools.partial(jax.jit, static_argnames=("num_clients", "cohort_size"))
def _choose(run_key: Key, rounds: Array, num_clients: int, cohort_size: int) -> Array:
    """Returns the clients of some rounds in any order, int [R, M]."""

    def choose(round):
        key = stream_key(run_key, Stream.COHORT, round)
        clients = jnp.arange(num_clients, dtype=jnp.int32)
        return jax.random.choice(key, clients, (cohort_size,), replace=False)

    return jax.vmap(choose)(rounds)
