"""Band and split of the deadline of one client that pays for its bandwidth.

At a price ``mu`` in joules per hertz the client minimises ``kappa C^3 / tau^2 + t p + mu W`` over
``tau >= C / F`` and ``W > 0``, with ``t = T - tau``, ``y = S ln 2 / (W t)`` and ``p = (N0 W / h)
(e^y - 1) <= P``. This is convex in (tau, W), and stationary where, with ``phi(y) = y e^y - e^y +
1``,

    mu = (1 + nu) N0 t phi(y) / h,    2 kappa C^3 / tau^3 + nu P = (1 + nu) (N0 W / h) phi(y),

``nu >= 0`` being the multiplier of the power limit. Away from that limit the first equation gives
``t`` from ``y``; at it ``t = (N0 S ln 2 / (h P)) (e^y - 1) / y``. This leaves one increasing
function of one unknown, ``log(e^y - 1)`` (the logarithm of the signal-to-noise ratio), in which
all terms are nearly linear. ``tau >= C / F`` bounds the root.
"""

from typing import NamedTuple

import jax.numpy as jnp

from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.search.bisection import newton
from fedjax_diffusion.allocation.search.time_split import LEAST_SHARE, watts_saved
from fedjax_diffusion.edge import costs
from fedjax_diffusion.edge.costs import LN2
from fedjax_diffusion.types import Array

_MAX_LOG_SNR = 300.0


class PricedSplit(NamedTuple):
    """Choice of each client at a price of bandwidth; float64 [K] each.

    Attributes:
      bandwidth_hz: W, the band that it takes.
      log_slope: ``d log W / d log mu <= 0``; 0 where the deadline fixes the band.
      total_joules: energy of computing and transmitting, without the price of the band.
    """

    bandwidth_hz: Array
    log_slope: Array
    total_joules: Array


def least_bandwidth(problem: AllocationProblem, payload: Array) -> Array:
    """Returns the least band [K], Hz, over which ``payload`` [K] arrives, at full power and speed.

    ``W = P h / (N0 x)`` where ``x / log(1 + x) = P h t / (N0 S ln 2)`` at ``t = T - C / F``. As the
    band grows, the rate tends to ``P h / (N0 ln 2)``. If that is not above ``S / t``, no band is
    wide enough and the result is infinity.
    """
    scene = _scene(problem, payload)
    room = jnp.exp(scene.log_max_power - scene.log_work) * scene.longest_upload

    def log_room_and_slope(log_snr):
        nats, _, _ = _curves(log_snr)
        return log_snr - jnp.log(nats) - jnp.log(room), 1.0 - _nats_slope(log_snr) / nats

    is_reachable = (room > 1.0) & scene.has_time
    room = jnp.where(is_reachable, room, 2.0)
    log_snr = newton(log_room_and_slope, *_room_bracket(room))
    bandwidth_hz = jnp.exp(scene.log_max_power - scene.log_noise - log_snr)
    return jnp.where(is_reachable, bandwidth_hz, jnp.inf)


def split_at_price(
    problem: AllocationProblem, payload: Array, least_hz: Array, log_price: Array
) -> PricedSplit:
    """Returns the band and the energy of each client at one price of bandwidth for all.

    Args:
      problem: K clients; their ``bandwidth_hz`` are not used.
      payload: float64 [K], bits.
      least_hz: float64 [K], ``least_bandwidth`` of that payload.
      log_price: [], log mu, mu in joules per hertz.

    Returns:
      The split; finite, but meaningless where ``least_bandwidth`` is infinite.
    """
    scene = _scene(problem, payload)
    free, log_power = _split_freely(scene, log_price)
    # Convexity: a limit is active exactly where the optimum without it violates it.
    is_limited = log_power > scene.log_max_power
    limited = _split_at_full_power(scene, least_hz, log_price, is_limited)
    return PricedSplit(*(jnp.where(is_limited, x, y) for x, y in zip(limited, free, strict=True)))


def bandwidth_price(problem: AllocationProblem, payload: Array, compute_seconds: Array) -> Array:
    """Returns the joules [K] that one more hertz saves each client, ``(1 + nu) N0 t phi(y) / h``.

    Args:
      problem: K clients with the bands that they use.
      payload: float64 [K], bits.
      compute_seconds: float64 [K], the best split of the deadline over those bands.
    """
    computing, sending = watts_saved(problem, payload, compute_seconds)
    # Positive where the power limit keeps tau below its stationary value; else rounding.
    power_price = jnp.maximum(computing - sending, 0.0) / (problem.max_power_watts + sending)
    upload_seconds = problem.time_budget_seconds - compute_seconds
    return (1.0 + power_price) * sending * upload_seconds / problem.bandwidth_hz


class _Scene(NamedTuple):
    """Quantities of the clients in the equations, [K] each; logarithms prevent overflow."""

    budget: Array
    shortest: Array
    longest_upload: Array
    has_time: Array
    log_noise: Array  # N0 / h, watts per hertz seen from the transmitter
    log_max_power: Array
    log_nats: Array  # S ln 2
    log_work: Array  # N0 S ln 2 / h, joules of sending over an infinite band
    log_saved: Array  # 2 kappa C^3


def _scene(problem: AllocationProblem, payload: Array) -> _Scene:
    budget = jnp.broadcast_to(problem.time_budget_seconds, payload.shape)
    shortest = costs.min_compute_seconds(problem.compute_cycles, problem.max_frequency_hz)
    room = budget - shortest
    log_noise = jnp.log(problem.noise_density_watts_per_hz) - jnp.log(problem.channel_gain)
    log_nats = jnp.log(payload * LN2)
    has_time = room > LEAST_SHARE * budget
    return _Scene(
        budget=budget,
        shortest=jnp.where(has_time, shortest, 0.5 * budget),
        longest_upload=jnp.where(has_time, room, 0.5 * budget),
        has_time=has_time,
        log_noise=log_noise,
        log_max_power=jnp.log(problem.max_power_watts),
        log_nats=log_nats,
        log_work=log_noise + log_nats,
        log_saved=LN2
        + jnp.log(problem.effective_capacitance)
        + 3.0 * jnp.log(problem.compute_cycles),
    )


def _curves(log_snr: Array) -> tuple[Array, Array, Array]:
    """Returns ``y``, ``log phi(y)`` and ``d log phi / d log x`` at ``x = e^y - 1``."""
    snr = jnp.exp(log_snr)
    nats = jnp.log1p(snr)
    curve, _ = costs.power_curve(nats)
    return nats, jnp.log(curve), nats * snr / curve


def _nats_slope(log_snr: Array) -> Array:
    """Returns ``dy / d log x = x / (1 + x)``."""
    return 1.0 / (1.0 + jnp.exp(-log_snr))


def _split_freely(scene: _Scene, log_price: Array) -> tuple[PricedSplit, Array]:
    """Returns the split without the power limit, and the logarithm of the power that it takes.

    Solves ``t + max(tau, C / F) = T``, where ``y`` gives the stationary ``t`` and ``tau``.
    """

    def times(log_snr):
        nats, log_curve, turn = _curves(log_snr)
        log_upload = log_price - scene.log_noise - log_curve
        log_cube = scene.log_saved + jnp.log(nats) + 2.0 * log_upload - log_price - scene.log_nats
        upload_seconds, wanted = jnp.exp(log_upload), jnp.exp(log_cube / 3.0)
        is_clipped = wanted <= scene.shortest
        compute_seconds = jnp.where(is_clipped, scene.shortest, wanted)
        nats_slope = _nats_slope(log_snr) / nats
        compute_slope = jnp.where(is_clipped, 0.0, (2.0 * turn - nats_slope) / 3.0)
        total = upload_seconds + compute_seconds
        slope = (upload_seconds * turn + compute_seconds * compute_slope) / total
        excess = jnp.log(scene.budget) - jnp.log(total)
        return excess, slope, upload_seconds, compute_seconds, is_clipped

    log_snr = newton(lambda x: times(x)[:2], *_free_bracket(scene, log_price))
    _, slope, upload_seconds, compute_seconds, is_clipped = times(log_snr)
    nats, _, turn = _curves(log_snr)
    # Not as the difference to T, which loses all digits for a short upload.
    upload_seconds = jnp.where(is_clipped, scene.longest_upload, upload_seconds)
    # Along the root, d log x / d log mu: at a given x, mu scales t by itself, tau by its cube root.
    share = upload_seconds / scene.budget
    added = share + jnp.where(is_clipped, 0.0, (1.0 - share) / 3.0)
    snr_slope = added / slope
    upload_slope = 1.0 - turn * snr_slope
    log_transmit = scene.log_work + log_snr - jnp.log(nats)
    log_upload = jnp.log(upload_seconds)
    split = PricedSplit(
        bandwidth_hz=jnp.exp(scene.log_nats - jnp.log(nats) - log_upload),
        log_slope=-(_nats_slope(log_snr) / nats * snr_slope + upload_slope),
        total_joules=_compute_joules(scene, compute_seconds) + jnp.exp(log_transmit),
    )
    return split, log_transmit - log_upload


def _split_at_full_power(
    scene: _Scene, least_hz: Array, log_price: Array, is_limited: Array
) -> PricedSplit:
    """Returns the split at full power ``p = P``, where a wider band shortens the upload.

    Solves ``2 kappa C^3 / tau^3 + P = mu S ln 2 e^y / (t^2 phi)``, with at least the least band.
    """
    max_power = jnp.exp(scene.log_max_power)
    upper = _clip(scene.log_max_power - scene.log_noise - jnp.log(least_hz))

    def terms(log_snr):
        nats, log_curve, turn = _curves(log_snr)
        nats_slope = _nats_slope(log_snr)
        log_upload = scene.log_work + log_snr - jnp.log(nats) - scene.log_max_power
        upload_seconds = jnp.exp(jnp.minimum(log_upload, jnp.log(scene.longest_upload)))
        compute_seconds = jnp.maximum(scene.budget - upload_seconds, scene.shortest)
        computing = jnp.exp(scene.log_saved - 3.0 * jnp.log(compute_seconds))
        log_paid = log_price + scene.log_nats + nats - 2.0 * log_upload - log_curve
        leverage = 3.0 * upload_seconds / compute_seconds * computing / (computing + max_power)
        slope = (leverage + 2.0) * (1.0 - nats_slope / nats) + turn - nats_slope
        return jnp.log(computing + max_power) - log_paid, slope, compute_seconds

    lower = jnp.minimum(_full_power_floor(scene, log_price), upper)
    # Clients below the power limit must not prolong the search for the others.
    log_snr = newton(lambda x: terms(x)[:2], jnp.where(is_limited, lower, upper), upper)
    is_least = log_snr >= upper
    _, slope, compute_seconds = terms(log_snr)
    compute_seconds = jnp.where(is_least, scene.shortest, compute_seconds)
    upload_seconds = scene.budget - compute_seconds
    bandwidth_hz = jnp.exp(scene.log_max_power - scene.log_noise - log_snr)
    return PricedSplit(
        bandwidth_hz=jnp.where(is_least & jnp.isfinite(least_hz), least_hz, bandwidth_hz),
        log_slope=jnp.where(is_least, 0.0, -1.0 / slope),
        total_joules=_compute_joules(scene, compute_seconds) + max_power * upload_seconds,
    )


def _compute_joules(scene: _Scene, compute_seconds: Array) -> Array:
    return 0.5 * jnp.exp(scene.log_saved - 2.0 * jnp.log(compute_seconds))


def _free_bracket(scene: _Scene, log_price: Array) -> tuple[Array, Array]:
    """Returns a bracket of ``log x`` around the optimum without the power limit.

    By ``x^2 / (2 + 2 x / 3) <= phi <= x^2 / 2`` (Bennett's inequality) and ``y <= x``: ``t <= T - C
    / F`` requires ``phi >= c``; ``q`` is the value of ``phi^2 / y`` where computing saves most.
    """
    log_least = log_price - scene.log_noise - jnp.log(scene.longest_upload)
    lower = 0.5 * (LN2 + log_least)
    log_most = scene.log_saved - 3.0 * jnp.log(scene.shortest)
    log_ratio = log_most + log_price - scene.log_nats - 2.0 * scene.log_noise
    upper = jnp.maximum(
        jnp.maximum(lower, log_least) + LN2,
        jnp.maximum((log_ratio + 4.0 * LN2) / 3.0, log_ratio + 4.0 * LN2),
    )
    return _clip(lower), _clip(upper)


def _full_power_floor(scene: _Scene, log_price: Array) -> Array:
    """Returns a ``log x`` below the optimum along the power limit.

    By ``phi e^-y <= x^2 / 2``, at the tau where one more second of computing saves most.
    """
    most = jnp.exp(scene.log_saved - 3.0 * jnp.log(scene.shortest)) + jnp.exp(scene.log_max_power)
    log_square = LN2 + log_price + scene.log_nats - jnp.log(most)
    return _clip(0.5 * log_square - jnp.log(scene.longest_upload))


def _room_bracket(room: Array) -> tuple[Array, Array]:
    """Returns log bounds of the x with ``x / log(1 + x) = c > 1``: ``2 (c - 1)``, ``c^2 - 1``."""
    log_excess = jnp.log(room - 1.0)
    return _clip(log_excess + LN2), _clip(log_excess + jnp.log(room + 1.0))


def _clip(log_snr: Array) -> Array:
    return jnp.clip(log_snr, -_MAX_LOG_SNR, _MAX_LOG_SNR)
