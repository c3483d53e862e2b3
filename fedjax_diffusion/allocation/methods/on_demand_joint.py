"""The on-demand allocator over one shared band: bits, compute times and bands together.

With a price ``lambda`` of error and a price ``mu`` of bandwidth

    D(lambda, mu) = sum_k min_{b, tau, W} [E_k + lambda v_k(b) + mu (W - w_k)] - lambda eps

is concave and below the least energy, for any shares ``w`` of the whole band. For each ``mu`` the
clients' best split is tabled per bit width and the multiplier search finds ``lambda``; ``mu`` is
where the bands that it takes add up to the whole. At a price of bandwidth the bit widths' energies
are not discrete-convex in the bits, so bit widths are compared over the hull of (error, energy), as
that search does.

Every price that is tried also gives an answer: the bit widths that its table favours, with the band
shared between them exactly. Up to four clients all combinations whose bound is below the best known
are tried instead, which is exact.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.allocation import ERROR_SLACK, Choice
from fedjax_diffusion.allocation.band.bit_widths import (
    BandBitWidths,
    band_bit_widths,
    least_cost,
)
from fedjax_diffusion.allocation.band.shared_band import (
    BAND_SLACK,
    SharedBand,
    band_residual,
    is_within,
    share_band,
    share_evenly,
    total_bandwidth,
)
from fedjax_diffusion.allocation.band.split import split_at_price
from fedjax_diffusion.allocation.problem import (
    AllocationProblem,
    bit_width_error,
    bit_width_payload,
)
from fedjax_diffusion.allocation.search.multiplier import (
    MAX_EXACT_CLIENTS,
    BitWidthTable,
    Priced,
    fill_budget,
    least_error,
    pick,
    search_multiplier,
)
from fedjax_diffusion.allocation.search.price_search import Tried, search_price
from fedjax_diffusion.allocation.search.select import select
from fedjax_diffusion.allocation.search.time_split import SplitFn
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.bits import BIT_WIDTHS, bit_width_index
from fedjax_diffusion.types import Array

_TIE = 1e-7


class _Market(NamedTuple):
    """What the search trades in.

    Attributes:
      problem: K clients.
      bit_widths: what they may send.
      budget: [], eps.
      shares: float64 [K], Hz, of the whole band: what each buys from or sells to.
    """

    problem: AllocationProblem
    bit_widths: BandBitWidths
    budget: Array
    shares: Array


class _Answer(NamedTuple):
    """Bit widths int32 [K], and the shared band; infinite energy where they do not fit."""

    chosen: Array
    band: SharedBand


class _Found(NamedTuple):
    """The best bound so far with what proves it, and the best answer so far."""

    bound: Array
    price: Array
    multiplier: Array
    table: BitWidthTable
    answer: _Answer


def on_demand_jointly(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Chooses the bit widths and shares of the band of least energy whose error meets the budget.

    Args:
      problem: K clients; only the sum of their ``bandwidth_hz`` matters.
      split: not used; the time is split well.

    Guarantees: the error is within the budget and the bands within their sum, to rounding, wherever
    the status is OPTIMAL. Exact up to four clients.
    """
    del split
    bit_widths = band_bit_widths(problem)
    budget = problem.error_budget * (1.0 + ERROR_SLACK)
    start, status, smallest_error = _find_feasible(problem, bit_widths, budget)
    found = _search(problem, bit_widths, budget, start, jnp.any(status == Status.OPTIMAL))
    chosen, band = found.answer
    index = jnp.where(
        status == Status.INFEASIBLE_BANDWIDTH, start, bit_width_index(problem.min_bits)
    )
    index = jnp.where(status == Status.OPTIMAL, chosen, index)
    payload = bit_width_payload(problem, index)
    least_hz = pick(bit_widths.least_hz, index)
    return Choice(
        num_bits=jnp.array(BIT_WIDTHS, jnp.int32)[index],
        payload=payload,
        error=bit_width_error(problem, index),
        status=status,
        smallest_error=smallest_error,
        multiplier=found.multiplier,
        dual_bound=found.bound,
        residual=band_residual(problem, payload, least_hz, bit_widths.is_active, band),
        bandwidth_hz=band.bandwidth_hz,
        bandwidth_price=found.price,
    )


def _find_feasible(
    problem: AllocationProblem, bit_widths: BandBitWidths, budget: Array
) -> tuple[Array, Array, Array]:
    """Returns bit widths to start from, the status int32 [K], and the smallest error in reach, [].

    The bit widths are those that need the least band within the budget; without an error budget in
    reach, at all.
    """

    def fits(index):
        return is_within(bit_widths.total(pick(bit_widths.least_hz, index)), problem)

    def error_of(index):
        return bit_widths.total(pick(bit_widths.error, index))

    tables = (bit_widths.by_band(), bit_widths.by_error(bit_widths.error))
    tables = jax.tree.map(lambda *rows: jnp.stack(rows), *tables)
    limits = jnp.stack([budget, total_bandwidth(problem) * (1.0 + BAND_SLACK)])
    start, finest = jax.lax.map(lambda pair: least_cost(*pair), (tables, limits))
    # Both may be greedy: what one misses, the other may have found.
    start = jnp.where(~fits(start) & (error_of(finest) <= budget), finest, start)
    is_reachable = error_of(least_error(bit_widths.by_band())) <= budget
    narrowest = jnp.argmin(bit_widths.by_band().energy, axis=0).astype(start.dtype)
    start = jnp.where(is_reachable, start, narrowest)
    status = jnp.where(is_reachable, Status.OPTIMAL, Status.INFEASIBLE_ERROR)
    status = jnp.where(fits(start), status, Status.INFEASIBLE_BANDWIDTH)
    status = jnp.where(bit_widths.is_active, status, bit_widths.status).astype(jnp.int32)
    return start, status, error_of(finest)


def _search(
    problem: AllocationProblem,
    bit_widths: BandBitWidths,
    budget: Array,
    start: Array,
    is_feasible: Array,
) -> _Found:
    """Returns the best bound and the best answer, from bit widths to start from."""
    least_hz = pick(bit_widths.least_hz, start)
    even = share_evenly(problem, bit_width_payload(problem, start), least_hz, bit_widths.is_active)
    market = _Market(problem, bit_widths, budget, even.bandwidth_hz)
    is_exact = problem.num_clients <= MAX_EXACT_CLIENTS

    def evaluate(log_price, found):
        table, bands = _price_bit_widths(market, log_price)
        priced = search_multiplier(table, budget)
        answer = found.answer
        here = _Found(priced.dual_bound, jnp.exp(log_price), priced.multiplier, table, answer)
        best = select(priced.dual_bound > found.bound, here, found)
        if not is_exact:
            index = fill_budget(table, priced.bit_width_index, budget, priced.dual_bound)
            offer = _share(market, index)
            answer = select(offer.band.energy < answer.band.energy, offer, answer)
        # Where nothing is feasible, no bound is worth a search.
        known = jnp.where(is_feasible, answer.band.energy, -jnp.inf)
        slope = _mixed_band(market, table, bands, priced)
        return Tried(priced.dual_bound, slope, known), best._replace(answer=answer)

    log_price = jnp.sum(jnp.where(bit_widths.is_active, even.log_price, 0.0))
    log_price = log_price / jnp.maximum(jnp.sum(bit_widths.is_active), 1)
    nothing = jnp.zeros_like(log_price)
    answer = _Answer(start, SharedBand(even.bandwidth_hz, nothing, nothing + jnp.inf, nothing))
    table = BitWidthTable(jnp.zeros_like(bit_widths.error), bit_widths.error)
    found = _Found(nothing - jnp.inf, nothing, nothing, table, answer)
    found = search_price(evaluate, log_price, found)
    return found._replace(answer=_try_all(market, found)) if is_exact else found


def _share(market: _Market, index: Array) -> _Answer:
    """Shares the band between given bit widths; infinite energy where they break a limit."""
    problem, bit_widths = market.problem, market.bit_widths
    least_hz = pick(bit_widths.least_hz, index)
    is_allowed = is_within(bit_widths.total(least_hz), problem)
    is_allowed &= bit_widths.total(pick(bit_widths.error, index)) <= market.budget
    band = share_band(problem, bit_width_payload(problem, index), least_hz, bit_widths.is_active)
    return _Answer(index, band._replace(energy=jnp.where(is_allowed, band.energy, jnp.inf)))


def _price_bit_widths(market: _Market, log_price: Array) -> tuple[BitWidthTable, Array]:
    """Returns the table [B, K] of ``E + mu (W - w)`` and error, and the bands W [B, K] it takes."""
    problem, bit_widths = market.problem, market.bit_widths

    def bit_width_row(row):
        index, least_hz = row
        payload = bit_width_payload(problem, jnp.full(problem.num_clients, index))
        priced = split_at_price(problem, payload, least_hz, log_price)
        energy = priced.total_joules + jnp.exp(log_price) * (priced.bandwidth_hz - market.shares)
        is_usable = jnp.isfinite(least_hz)
        return jnp.where(is_usable, energy, jnp.inf), priced.bandwidth_hz

    energy, bands = jax.lax.map(bit_width_row, (jnp.arange(len(BIT_WIDTHS)), bit_widths.least_hz))
    return bit_widths.table(energy, bit_widths.error), bands


def _mixed_band(market: _Market, table: BitWidthTable, bands: Array, priced: Priced) -> Array:
    """Returns how much band more than there is the bit widths at the multiplier take, Hz, [].

    Where bit widths tie at the multiplier, the mixture of both sides whose error is the budget:
    that is the slope of the bound in the price of bandwidth.
    """

    def bit_widths_at(multiplier):
        index = jnp.argmin(table.energy + multiplier * table.error, axis=0)
        excess = jnp.where(market.bit_widths.is_active, pick(bands, index) - market.shares, 0.0)
        return jnp.sum(pick(table.error, index)), jnp.sum(excess)

    loose_error, loose_band = bit_widths_at(priced.multiplier * (1.0 - _TIE))
    tight_error, tight_band = bit_widths_at(priced.multiplier * (1.0 + _TIE))
    step = loose_error - tight_error
    share = jnp.where(step > 0, (market.budget - tight_error) / jnp.where(step > 0, step, 1.0), 1.0)
    share = jnp.clip(share, 0.0, 1.0)
    return share * loose_band + (1.0 - share) * tight_band


def _try_all(market: _Market, found: _Found) -> _Answer:
    """Returns the best answer of all combinations of bit widths.

    In the order of their energies at the price of bandwidth, which bound theirs from below, until
    the bound is not below the best known.
    """
    bit_widths = market.bit_widths
    is_allowed = _sums(found.table.error) <= market.budget
    is_allowed &= is_within(_sums(bit_widths.by_band().energy), market.problem)
    bound = jnp.where(is_allowed, _sums(found.table.energy), jnp.inf)
    order = jnp.argsort(bound)

    shape = (len(BIT_WIDTHS),) * market.problem.num_clients

    def advance(state):
        answer, place = state
        index = jnp.stack(jnp.unravel_index(order[place], shape)).astype(jnp.int32)
        offer = _share(market, index)
        return select(offer.band.energy < answer.band.energy, offer, answer), place + 1

    def is_unfinished(state):
        answer, place = state
        return (place < order.size) & (bound[order[place]] < answer.band.energy)

    start = (found.answer, jnp.array(0, jnp.int32))
    return jax.lax.while_loop(is_unfinished, advance, start)[0]


def _sums(rows: Array) -> Array:
    """Returns the sums over the clients of all combinations of rows, [B^K] of [B, K]."""
    sums = jnp.zeros(1, rows.dtype)
    for client in range(rows.shape[1]):
        sums = (sums[:, None] + rows[None, :, client]).reshape(-1)
    return sums
