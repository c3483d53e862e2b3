"""Time and energy of computing and uploading: pure, elementwise functions of arrays.

Arguments have equal shapes (scalars broadcast). The exponent of the upload power is bounded by the
device's largest power *before* the exponential is computed, so neither values nor gradients
overflow.
"""

from math import factorial

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.types import Array

LN2 = float(np.log(2.0))
_SERIES = tuple((n - 1) / factorial(n) for n in range(10, 1, -1))
_SERIES_LIMIT = 0.1


def payload_bits(num_parameters: Array, num_bits: Array, overhead_bits: Array) -> Array:
    """Returns the size of one upload in bits, ``8 ceil(d b / 8) + overhead``.

    Args:
      num_parameters: d, whole numbers; exact in float64 while ``d b < 2**53``.
      num_bits: b, bits per parameter.
      overhead_bits: bits of ranges and header.
    """
    return 8.0 * jnp.ceil(num_parameters * num_bits / 8.0) + overhead_bits


def min_compute_seconds(compute_cycles: Array, max_frequency_hz: Array) -> Array:
    """Returns the shortest compute time ``C / F`` in seconds."""
    return compute_cycles / max_frequency_hz


def compute_energy(
    compute_cycles: Array, effective_capacitance: Array, compute_seconds: Array
) -> Array:
    """Returns ``kappa C f^2 = kappa C^3 / tau^2`` in joules, with ``f = C / tau``.

    Args:
      compute_cycles: C, cycles.
      effective_capacitance: kappa, J s^2 / cycle^3.
      compute_seconds: tau > 0, s.
    """
    return effective_capacitance * compute_cycles * (compute_cycles / compute_seconds) ** 2


def compute_watts_saved(
    compute_cycles: Array, effective_capacitance: Array, compute_seconds: Array
) -> Array:
    """Returns ``-dE_cmp / dtau = 2 kappa C^3 / tau^3``, joules saved per additional second."""
    energy = compute_energy(compute_cycles, effective_capacitance, compute_seconds)
    return 2.0 * energy / compute_seconds


def rate(
    power_watts: Array, channel_gain: Array, bandwidth_hz: Array, noise_watts_per_hz: Array
) -> Array:
    """Returns the Shannon rate ``W log2(1 + p h / (N0 W))`` in bit/s."""
    return (
        bandwidth_hz
        * jnp.log1p(power_watts * channel_gain / (noise_watts_per_hz * bandwidth_hz))
        / LN2
    )


def min_upload_seconds(
    payload: Array,
    max_power_watts: Array,
    channel_gain: Array,
    bandwidth_hz: Array,
    noise_watts_per_hz: Array,
) -> Array:
    """Returns the shortest upload time ``S / r_max`` in seconds, that at full power."""
    return payload / rate(max_power_watts, channel_gain, bandwidth_hz, noise_watts_per_hz)


def spectral_nats(
    upload_seconds: Array,
    payload: Array,
    max_power_watts: Array,
    channel_gain: Array,
    bandwidth_hz: Array,
    noise_watts_per_hz: Array,
) -> Array:
    """Returns the load of the channel, ``y = S ln 2 / (W t)``, at most that at full power.

    An upload time shorter than ``S / r_max`` counts as ``S / r_max``, so that ``exp(y) <= 1 + P h /
    (N0 W)``.
    """
    shortest = min_upload_seconds(
        payload, max_power_watts, channel_gain, bandwidth_hz, noise_watts_per_hz
    )
    return payload * LN2 / (bandwidth_hz * jnp.maximum(upload_seconds, shortest))


def upload_power(
    upload_seconds: Array,
    payload: Array,
    max_power_watts: Array,
    channel_gain: Array,
    bandwidth_hz: Array,
    noise_watts_per_hz: Array,
) -> Array:
    """Returns the power that sends S bits in t seconds, ``(N0 W / h) (2^{S / (W t)} - 1)``, watts.

    Guarantees:
      In ``[0, P]`` up to rounding, finite for every ``t``; P if ``t`` is shorter than
      ``S / r_max``.
    """
    link = (max_power_watts, channel_gain, bandwidth_hz, noise_watts_per_hz)
    nats = spectral_nats(upload_seconds, payload, *link)
    return noise_watts_per_hz * bandwidth_hz / channel_gain * jnp.expm1(nats)


def upload_energy(
    upload_seconds: Array,
    payload: Array,
    max_power_watts: Array,
    channel_gain: Array,
    bandwidth_hz: Array,
    noise_watts_per_hz: Array,
) -> Array:
    """Returns ``t p(t, S)`` in joules; decreasing in t, jointly convex in (t, S).

    A time shorter than ``S / r_max`` costs ``P S / r_max``, the energy at the shortest possible
    time.
    """
    link = (max_power_watts, channel_gain, bandwidth_hz, noise_watts_per_hz)
    shortest = min_upload_seconds(payload, *link)
    power = upload_power(upload_seconds, payload, *link)
    return jnp.maximum(upload_seconds, shortest) * power


def upload_watts_saved(nats: Array, noise_watts: Array) -> Array:
    """Returns ``-dE_com / dt = (N0 W / h) phi(y)``, joules saved per additional second.

    Args:
      nats: y >= 0, from ``spectral_nats``.
      noise_watts: ``N0 W / h``, the noise power divided by the channel gain.
    """
    return noise_watts * power_curve(nats)[0]


def power_curve(nats: Array) -> tuple[Array, Array]:
    """Returns ``phi(y) = y e^y - e^y + 1`` (by its series for small y) and ``e^y``."""
    exponential = jnp.exp(nats)
    small = jnp.minimum(nats, _SERIES_LIMIT)
    series = small * small * jnp.polyval(jnp.array(_SERIES), small)
    curve = jnp.where(nats < _SERIES_LIMIT, series, (nats - 1.0) * exponential + 1.0)
    return curve, exponential
