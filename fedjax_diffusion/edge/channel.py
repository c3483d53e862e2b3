"""The uplink channel: path loss, log-normal shadowing, Rayleigh block fading."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from fedjax_diffusion.edge.devices import DeviceParams
from fedjax_diffusion.host.platforms import cpu_device
from fedjax_diffusion.keys import Stream, stream_key
from fedjax_diffusion.types import Array, Key
from fedjax_diffusion.values import OneOf, Range, check_fields

FADINGS = ("rayleigh", "none")
MIN_FADING_POWER = 1e-6
"""Floor of the fading power, reached with probability 1e-6; it keeps every rate above zero."""


@dataclass(frozen=True)
class ChannelConfig:
    """Settings of a run's uplink channel.

    Attributes:
      fading: of the uplink, one of ``FADINGS``.
      shadowing_db: standard deviation of the shadowing, in [0, 300], dB.

    Raises:
      ValueError: a value is out of range.
    """

    fading: Annotated[str, OneOf(FADINGS)]
    shadowing_db: Annotated[float, Range(0, 300)]

    def __post_init__(self):
        check_fields(self, "channel")


@flax.struct.dataclass
class ChannelState:
    """The channel of one round, or of R rounds.

    Attributes:
      gain: float64 [K] or [R, K], h > 0, linear power gain between each client and the base
        station, on the host.
    """

    gain: np.ndarray


def path_loss_db(distance_meters: ArrayLike) -> np.ndarray:
    """Returns ``128.1 + 37.6 log10(distance in km)`` in dB, the macro-cell model of 3GPP TR 36.814.

    >>> float(path_loss_db(1000.0))
    128.1
    """
    return 128.1 + 37.6 * np.log10(np.asarray(distance_meters, np.float64) / 1000.0)


def draw_channel(
    run_key: Key,
    rounds: int | np.ndarray,
    devices: DeviceParams,
    *,
    shadowing_db: float,
    fading: str,
) -> ChannelState:
    """Draws the channel of one round, or of several in one call.

    ``h = 10^(-(path loss + X) / 10) g`` with ``X ~ N(0, shadowing_db^2)`` once per client for the
    run and ``g ~ Exp(1)`` per client and round.

    Args:
      run_key: [], the run's key.
      rounds: the federated round, >= 0, or several, int [R].
      devices: K clients.
      shadowing_db: standard deviation of the shadowing, in [0, 300], dB; 0 for none.
      fading: "rayleigh" (power of mean 1, floored at ``MIN_FADING_POWER``) or "none".

    Returns:
      The channel; a client's gain depends only on the run's key, the round, the client's id and
      its distance.

    Raises:
      ValueError: ``shadowing_db`` or ``fading`` is out of range.
    """
    ChannelConfig(fading, shadowing_db)
    num_clients = len(devices.distance_meters)
    # On the CPU, so that a run draws the same channel on every device.
    with jax.default_device(cpu_device()):
        draws = _draw(run_key, np.atleast_1d(np.asarray(rounds, np.int32)), num_clients)
    shadowing, power = (np.asarray(draw, np.float64) for draw in draws)
    loss_db = path_loss_db(devices.distance_meters) + shadowing_db * shadowing
    gain = 10.0 ** (-loss_db / 10.0)
    power = np.maximum(power, MIN_FADING_POWER) if fading == "rayleigh" else np.ones_like(power)
    return ChannelState(gain=(gain * power).reshape(*np.shape(rounds), num_clients))


@partial(jax.jit, static_argnames="num_clients")
def _draw(run_key: Key, rounds: Array, num_clients: int) -> tuple[Array, Array]:
    """Returns the run's standard normals [K] and the rounds' unit exponentials [R, K]."""

    # float32 in every precision mode: another precision would draw other numbers.
    def draw_shadowing(client):
        key = stream_key(run_key, Stream.SHADOWING, 0, client)
        return jax.random.normal(key, dtype=jnp.float32)

    def draw_power(round, client):
        key = stream_key(run_key, Stream.FADING, round, client)
        return jax.random.exponential(key, dtype=jnp.float32)

    clients = jnp.arange(num_clients)
    draw_powers = jax.vmap(jax.vmap(draw_power, in_axes=(None, 0)), in_axes=(0, None))
    return jax.vmap(draw_shadowing)(clients), draw_powers(rounds, clients)
