"""Methods that fix the bits by rule, over one shared band.

As without a shared band, they ignore the demands. But a client that demands more bits than it can
handle gets no share, so that it takes no band from the others.
"""

import jax.numpy as jnp

from fedjax_diffusion.allocation.allocation import Choice
from fedjax_diffusion.allocation.band.bit_widths import band_bit_widths, least_cost
from fedjax_diffusion.allocation.band.shared_band import (
    BAND_SLACK,
    band_residual,
    is_within,
    share_band,
    total_bandwidth,
)
from fedjax_diffusion.allocation.band.split import least_bandwidth
from fedjax_diffusion.allocation.problem import (
    AllocationProblem,
    bit_width_error,
    bit_width_payload,
)
from fedjax_diffusion.allocation.search.time_split import SplitFn
from fedjax_diffusion.allocation.status import Status, client_status
from fedjax_diffusion.bits import BIT_WIDTHS, bit_width_index
from fedjax_diffusion.types import Array


def fixed_bits_jointly(problem: AllocationProblem, split: SplitFn, num_bits: Array) -> Choice:
    """Gives every client ``num_bits``, and shares the band for the least total energy.

    Ignores demands and the error budget; the deadline and the band can fail. A client whose
    ``min_bits`` is above its ``max_bits`` does not participate.

    Args:
      problem: K clients; only the sum of their ``bandwidth_hz`` matters.
      split: not used; the time is split optimally.
      num_bits: [], 1..16 or 32; may be traced.
    """
    del split
    return _share_fixed(problem, jnp.full(problem.num_clients, bit_width_index(num_bits)))


def demand_jointly(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Gives every client the bits that it demands. Ignores the budget."""
    del split
    return _share_fixed(problem, bit_width_index(problem.min_bits))


def largest_jointly(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Gives the clients large bit widths that arrive together, ignoring the error budget.

    They minimize ``sum_k 1 / (2^{b_k} - 1)^2``. For rounds before any range was measured, when all
    clients' errors have the same weight.
    """
    del split
    bit_widths = band_bit_widths(problem)
    variance = 1.0 / jnp.square(jnp.exp2(jnp.array(BIT_WIDTHS, jnp.float64)) - 1.0)
    variance = jnp.broadcast_to(variance[:, None], bit_widths.error.shape)
    index = least_cost(bit_widths.by_error(variance), total_bandwidth(problem) * (1.0 + BAND_SLACK))
    return _share_fixed(
        problem, jnp.where(bit_widths.is_active, index, bit_width_index(problem.min_bits))
    )


def _share_fixed(problem: AllocationProblem, index: Array) -> Choice:
    payload = bit_width_payload(problem, index)
    least_hz = least_bandwidth(problem, payload)
    status = client_status(problem.min_bits <= problem.max_bits, is_within(least_hz, problem))
    is_active = status == Status.OPTIMAL
    band = share_band(problem, payload, least_hz, is_active)
    is_crowded = ~is_within(jnp.sum(jnp.where(is_active, least_hz, 0.0)), problem)
    status = jnp.where(is_active & is_crowded, Status.INFEASIBLE_BANDWIDTH, status)
    return Choice(
        num_bits=jnp.array(BIT_WIDTHS, jnp.int32)[index],
        payload=payload,
        error=bit_width_error(problem, index),
        status=status.astype(jnp.int32),
        smallest_error=jnp.zeros(()),
        multiplier=jnp.zeros(()),
        dual_bound=band.dual_bound,
        residual=band_residual(problem, payload, least_hz, is_active, band),
        bandwidth_hz=band.bandwidth_hz,
        bandwidth_price=band.price,
    )
