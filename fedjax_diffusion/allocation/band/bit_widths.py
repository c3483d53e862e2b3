"""Bit widths that fit into one shared band, alone and together, without regard to energy.

Every client has a least band per bit width. Two knapsacks over the bit widths decide feasibility:
the least total band whose error meets the budget, and the least total error that fits into the
whole band. Both are searched with one multiplier, like the allocation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.band.shared_band import is_within
from fedjax_diffusion.allocation.band.split import least_bandwidth
from fedjax_diffusion.allocation.problem import (
    AllocationProblem,
    bit_width_error,
    bit_width_payload,
)
from fedjax_diffusion.allocation.search.multiplier import (
    MAX_EXACT_CLIENTS,
    BitWidthTable,
    enumerate_bit_widths,
    fill_budget,
    pick,
    search_multiplier,
)
from fedjax_diffusion.allocation.status import Status, client_status
from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.types import Array


class BandBitWidths(NamedTuple):
    """Least band and error of every client at every bit width.

    Attributes:
      least_hz: float64 [B, K], the least band over which the bit width arrives; infinite if the
        client may not use the bit width or even the whole band is too little.
      error: float64 [B, K], its term of the squared error; 0 where the band is infinite.
      status: int32 [K], the status of each client if it had the whole band.
    """

    least_hz: Array
    error: Array
    status: Array

    @property
    def is_active(self) -> Array:
        """Mask of the clients that have a usable bit width, bool [K]."""
        return self.status == Status.OPTIMAL

    def total(self, per_client: Array) -> Array:
        """Returns the sum over those clients."""
        return jnp.sum(jnp.where(self.is_active, per_client, 0.0))

    def by_band(self) -> BitWidthTable:
        """Returns the table [B, K] with the band as cost and the error as weight."""
        return self.table(self.least_hz, self.error)

    def by_error(self, error: Array) -> BitWidthTable:
        """Returns the table [B, K] with ``error`` as cost and the band as weight."""
        return self.table(jnp.where(jnp.isfinite(self.least_hz), error, jnp.inf), self.least_hz)

    def table(self, cost: Array, weight: Array) -> BitWidthTable:
        """Returns a table of costs [B, K] and weights over the bit widths whose cost is finite.

        A client without such a bit width has one of cost 0.
        """
        cost = cost.at[0].set(jnp.where(self.is_active, cost[0], 0.0))
        is_usable = jnp.isfinite(cost) & self.is_active[None]
        return BitWidthTable(cost, jnp.where(is_usable, weight, 0.0))


def band_bit_widths(problem: AllocationProblem) -> BandBitWidths:
    """Returns the least band and the error of every client at every bit width."""

    def bit_width_row(index):
        bit_widths = jnp.full(problem.num_clients, index)
        num_bits = jnp.array(BIT_WIDTHS, jnp.float64)[index]
        least_hz = least_bandwidth(problem, bit_width_payload(problem, bit_widths))
        is_allowed = (problem.min_bits <= num_bits) & (num_bits <= problem.max_bits)
        is_usable = is_allowed & is_within(least_hz, problem)
        return (
            jnp.where(is_usable, least_hz, jnp.inf),
            jnp.where(is_usable, bit_width_error(problem, bit_widths), 0.0),
        )

    least_hz, error = jax.lax.map(bit_width_row, jnp.arange(len(BIT_WIDTHS)))
    is_delivered = jnp.any(jnp.isfinite(least_hz), axis=0)
    return BandBitWidths(
        least_hz, error, client_status(problem.min_bits <= problem.max_bits, is_delivered)
    )


def least_cost(table: BitWidthTable, limit: Array) -> Array:
    """Returns the bit widths int32 [K] of least total cost whose total weight is within a limit.

    Exact up to ``MAX_EXACT_CLIENTS`` clients, else greedy. If no bit widths are within the limit,
    returns those of least weight.
    """
    priced = search_multiplier(table, limit)
    if table.energy.shape[1] > MAX_EXACT_CLIENTS:
        return fill_budget(table, priced.bit_width_index, limit, priced.dual_bound)
    is_met = jnp.sum(pick(table.error, priced.bit_width_index)) <= limit
    return jnp.where(is_met, enumerate_bit_widths(table, limit), priced.bit_width_index)
