"""One band shared by all clients at given bit widths: the price at which their shares fill it.

``min sum_k E_k(tau_k, W_k)`` subject to ``sum_k W_k <= W_total`` is convex. A price ``mu`` of
bandwidth separates the clients. Their bands shrink as it rises, and the price at which they add up
to ``W_total`` gives the optimum. For any price and any shares ``w`` of the whole band

    D(mu) = sum_k min_W [E_k(W) + mu (W - w_k)]  <=  the least energy of those bit widths.
"""

from typing import NamedTuple

import jax.numpy as jnp

from fedjax_diffusion.allocation.band.split import bandwidth_price, split_at_price
from fedjax_diffusion.allocation.problem import AllocationProblem, with_leaves
from fedjax_diffusion.allocation.search.bisection import newton
from fedjax_diffusion.allocation.search.time_split import optimal_split
from fedjax_diffusion.types import Array

BAND_SLACK = 1e-12
"""Relative rounding slack of the whole band, so that a sum in another order still fits."""


class EvenShares(NamedTuple):
    """Division of the whole band: each client's least band plus an equal part of the rest.

    Attributes:
      bandwidth_hz: float64 [K]; the whole band for a client that does not participate.
      least_hz: float64 [K], the least band; 0 for a client that does not participate.
      spare_hz: [], the part of the band beyond the least bands.
      log_price: float64 [K], log of the energy that one more hertz would save each client, J/Hz.
    """

    bandwidth_hz: Array
    least_hz: Array
    spare_hz: Array
    log_price: Array


class SharedBand(NamedTuple):
    """Shares of the whole band.

    Attributes:
      bandwidth_hz: float64 [K], W; the participating clients use the whole band.
      price: float64 [], mu, joules per hertz.
      energy: float64 [], joules of the participating clients.
      dual_bound: float64 [], ``D(mu)``, joules.
    """

    bandwidth_hz: Array
    price: Array
    energy: Array
    dual_bound: Array


def total_bandwidth(problem: AllocationProblem) -> Array:
    """Returns the band [] that the clients share, Hz: the sum over all, also those left out."""
    return jnp.sum(problem.bandwidth_hz)


def is_within(band_hz: Array, problem: AllocationProblem) -> Array:
    """Returns whether bands in Hz, any shape, fit into the whole band, within ``BAND_SLACK``."""
    return band_hz <= total_bandwidth(problem) * (1.0 + BAND_SLACK)


def share_evenly(
    problem: AllocationProblem, payload: Array, least_hz: Array, is_active: Array
) -> EvenShares:
    """Returns the least bands plus equal parts of the rest of the whole band.

    Args:
      problem: K clients; only the sum of their ``bandwidth_hz`` matters.
      payload: float64 [K], bits.
      least_hz: float64 [K], ``least_bandwidth`` of that payload.
      is_active: bool [K], the participating clients.
    """
    total_hz = total_bandwidth(problem)
    least_hz = jnp.where(is_active & jnp.isfinite(least_hz), least_hz, 0.0)
    spare_hz = jnp.maximum(total_hz - jnp.sum(least_hz), 0.0)
    even_hz = spare_hz / jnp.maximum(jnp.sum(is_active), 1)
    bandwidth_hz = jnp.where(is_active, least_hz + even_hz, total_hz)
    shared = with_leaves(problem, bandwidth_hz=bandwidth_hz)
    price = bandwidth_price(shared, payload, optimal_split(shared, payload))
    log_price = jnp.log(jnp.maximum(price, jnp.finfo(price.dtype).tiny))
    return EvenShares(bandwidth_hz, least_hz, spare_hz, log_price)


def share_band(
    problem: AllocationProblem, payload: Array, least_hz: Array, is_active: Array
) -> SharedBand:
    """Returns the shares of least energy, to rounding.

    Newton's method on ``log sum_k W_k`` against ``log mu``, between the least and the greatest of
    the clients' prices for the even division.

    Args:
      problem: K clients; only the sum of their ``bandwidth_hz`` matters.
      payload: float64 [K], bits.
      least_hz: float64 [K], ``least_bandwidth`` of that payload.
      is_active: bool [K], the participating clients.

    Returns:
      The shares, each at least ``least_hz``; finite. Meaningless if the least bands of the
      participating clients do not fit together.
    """
    total_hz = total_bandwidth(problem)
    even = share_evenly(problem, payload, least_hz, is_active)

    def unused_and_slope(log_price):
        split = split_at_price(problem, payload, least_hz, log_price)
        taken = jnp.where(is_active, split.bandwidth_hz, 0.0)
        used = jnp.maximum(jnp.sum(taken), jnp.finfo(taken.dtype).tiny)
        return jnp.log(total_hz) - jnp.log(used), -jnp.sum(taken * split.log_slope) / used

    is_any = jnp.any(is_active)
    lowest = jnp.min(jnp.where(is_active | ~is_any, even.log_price, jnp.inf))
    highest = jnp.max(jnp.where(is_active | ~is_any, even.log_price, -jnp.inf))
    log_price = newton(unused_and_slope, lowest, highest)
    split = split_at_price(problem, payload, least_hz, log_price)
    # The rounding error of the sum is divided in proportion to the band above the least bands.
    above = jnp.where(is_active, jnp.maximum(split.bandwidth_hz - even.least_hz, 0.0), 0.0)
    taken = jnp.sum(above)
    share = even.least_hz + above * (even.spare_hz / jnp.where(taken > 0, taken, 1.0))
    share = jnp.where(is_active & (taken > 0), share, even.bandwidth_hz)
    price = jnp.exp(log_price)
    traded = split.total_joules + price * (split.bandwidth_hz - share)
    return SharedBand(
        bandwidth_hz=share,
        price=price,
        energy=jnp.sum(jnp.where(is_active, split.total_joules, 0.0)),
        dual_bound=jnp.sum(jnp.where(is_active, traded, 0.0)),
    )


def band_residual(
    problem: AllocationProblem, payload: Array, least_hz: Array, is_active: Array, band: SharedBand
) -> Array:
    """Returns the largest relative violation [] of ``-dE_k / dW = mu`` and of ``sum_k W = total``.

    At its least band a client violates the first only if its price exceeds ``mu``.
    """
    shared = with_leaves(problem, bandwidth_hz=band.bandwidth_hz)
    offer = bandwidth_price(shared, payload, optimal_split(shared, payload))
    excess = (offer - band.price) / jnp.maximum(offer, band.price)
    is_least = band.bandwidth_hz <= least_hz * (1.0 + BAND_SLACK)
    excess = jnp.abs(jnp.where(is_least, jnp.maximum(excess, 0.0), excess))
    used_hz = jnp.sum(jnp.where(is_active, band.bandwidth_hz, 0.0))
    unused = jnp.abs(used_hz / total_bandwidth(problem) - 1.0)
    return jnp.maximum(jnp.max(jnp.where(is_active, excess, 0.0)), unused)
