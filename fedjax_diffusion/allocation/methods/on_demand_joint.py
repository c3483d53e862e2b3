"""On-demand allocator over one shared band: bits, compute times and bands together.

With a price ``lambda`` of error and a price ``mu`` of bandwidth,

    D(lambda, mu) = sum_k min_{b, tau, W} [E_k + lambda v_k(b) + mu (W - w_k)] - lambda eps

is concave and a lower bound on the energy, for any shares ``w`` of the whole band. For each ``mu``
the clients' best split is computed per bit width, and the multiplier search finds ``lambda``. The
``mu`` sought is the one at which the bands add up to the whole. At a price of bandwidth the energy
is not discrete-convex in the bits, so bit widths are compared over the hull of (error, energy), as
in that search.

Two tables are rounded to bit widths, for which the band is shared exactly: the one of the best
bound, and the one of separate shares, so that sharing never costs more. For up to four clients, all
combinations whose bound is below the best known energy are tried instead, which is exact.
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
from fedjax_diffusion.allocation.search.client_table import client_table
from fedjax_diffusion.allocation.search.multiplier import (
    MAX_EXACT_CLIENTS,
    BitWidthTable,
    Priced,
    least_error,
    pick,
    search_multiplier,
)
from fedjax_diffusion.allocation.search.price_search import Tried, search_price
from fedjax_diffusion.allocation.search.rounding import round_bit_widths
from fedjax_diffusion.allocation.search.select import select
from fedjax_diffusion.allocation.search.time_split import SplitFn
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.bits import BIT_WIDTHS, bit_width_index
from fedjax_diffusion.types import Array

_TIE = 1e-7


class _Market(NamedTuple):
    """Fixed inputs of the search.

    Attributes:
      problem: K clients.
      bit_widths: the bit widths that they may send.
      budget: [], eps.
      shares: float64 [K], Hz, w: initial shares of the whole band.
      log_price: float64 [], log mu: the first price of bandwidth.
    """

    problem: AllocationProblem
    bit_widths: BandBitWidths
    budget: Array
    shares: Array
    log_price: Array


class _Answer(NamedTuple):
    """Bit widths int32 [K] and the shared band; infinite energy if they do not fit."""

    chosen: Array
    band: SharedBand


class _Found(NamedTuple):
    """The best bound so far with its prices and table."""

    bound: Array
    price: Array
    multiplier: Array
    table: BitWidthTable


def on_demand_jointly(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Chooses the bit widths and shares of the band of least energy whose error meets the budget.

    Args:
      problem: K clients; only the sum of their ``bandwidth_hz`` matters.
      split: divides each client's deadline at its own ``bandwidth_hz``; in the shared band the
        time is split optimally.

    Guarantees:
      The error is within the budget and the bands within their sum, to rounding, if the status is
      OPTIMAL. Exact up to four clients. Up to ``MAX_CHUNK_CLIENTS``, if all of them can deliver
      over their own bands, the energy is not above that of ``on_demand`` with these.
    """
    bit_widths = band_bit_widths(problem)
    budget = problem.error_budget * (1.0 + ERROR_SLACK)
    start, status, smallest_error = _find_feasible(problem, bit_widths, budget)
    market = _open_market(problem, bit_widths, budget, start)
    found = _search(market, jnp.any(status == Status.OPTIMAL))
    chosen, band = _choose_bit_widths(market, found, start, split)
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
    """Returns initial bit widths, the status int32 [K], and the smallest possible error, [].

    The bit widths are those that need the least band within the error budget, or without it if it
    is out of reach.
    """

    def fits(index):
        return is_within(bit_widths.total(pick(bit_widths.least_hz, index)), problem)

    def error_of(index):
        return bit_widths.total(pick(bit_widths.error, index))

    tables = (bit_widths.by_band(), bit_widths.by_error(bit_widths.error))
    tables = jax.tree.map(lambda *rows: jnp.stack(rows), *tables)
    limits = jnp.stack([budget, total_bandwidth(problem) * (1.0 + BAND_SLACK)])
    start, finest = jax.lax.map(lambda pair: least_cost(*pair), (tables, limits))
    # Both searches may be greedy: one may find a solution that the other misses.
    start = jnp.where(~fits(start) & (error_of(finest) <= budget), finest, start)
    is_reachable = error_of(least_error(bit_widths.by_band())) <= budget
    narrowest = jnp.argmin(bit_widths.by_band().energy, axis=0).astype(start.dtype)
    start = jnp.where(is_reachable, start, narrowest)
    status = jnp.where(is_reachable, Status.OPTIMAL, Status.INFEASIBLE_ERROR)
    status = jnp.where(fits(start), status, Status.INFEASIBLE_BANDWIDTH)
    status = jnp.where(bit_widths.is_active, status, bit_widths.status).astype(jnp.int32)
    return start, status, error_of(finest)


def _open_market(
    problem: AllocationProblem, bit_widths: BandBitWidths, budget: Array, start: Array
) -> _Market:
    """Returns the inputs of the search, with shares and a price for given bit widths."""
    is_active = bit_widths.is_active
    least_hz = pick(bit_widths.least_hz, start)
    even = share_evenly(problem, bit_width_payload(problem, start), least_hz, is_active)
    log_price = jnp.sum(jnp.where(is_active, even.log_price, 0.0))
    log_price = log_price / jnp.maximum(jnp.sum(is_active), 1)
    return _Market(problem, bit_widths, budget, even.bandwidth_hz, log_price)


def _search(market: _Market, is_feasible: Array) -> _Found:
    """Returns the best bound, with its prices and table."""

    def evaluate(log_price, found):
        table, bands = _price_bit_widths(market, log_price)
        priced = search_multiplier(table, market.budget)
        here = _Found(priced.dual_bound, jnp.exp(log_price), priced.multiplier, table)
        best = select(priced.dual_bound > found.bound, here, found)
        # If nothing is feasible, the search ends at once.
        known = jnp.where(is_feasible, jnp.inf, -jnp.inf)
        slope = _mixed_band(market, table, bands, priced)
        return Tried(priced.dual_bound, slope, known), best

    nothing = jnp.zeros_like(market.log_price)
    error = market.bit_widths.error
    found = _Found(nothing - jnp.inf, nothing, nothing, BitWidthTable(jnp.zeros_like(error), error))
    return search_price(evaluate, market.log_price, found)


def _choose_bit_widths(market: _Market, found: _Found, start: Array, split: SplitFn) -> _Answer:
    """Returns the best solution, given bit widths that are feasible if any are."""
    if market.problem.num_clients <= MAX_EXACT_CLIENTS:
        return _try_all(market, found, start)
    separate, _ = client_table(market.problem, split)
    tables = jax.tree.map(lambda *rows: jnp.stack(rows), separate, found.table)
    rounded = jax.lax.map(lambda each: round_bit_widths(each, market.budget), tables)
    offers = jnp.concatenate([start[None], rounded.bit_width_index])
    take = lambda answer, index: (_take_better(market, answer, index), None)  # noqa: E731
    return jax.lax.scan(take, _no_answer(start), offers)[0]


def _no_answer(index: Array) -> _Answer:
    zero = jnp.zeros((), jnp.float64)
    return _Answer(index, SharedBand(zero * index, zero, energy=zero + jnp.nan, dual_bound=zero))


def _take_better(market: _Market, answer: _Answer, index: Array) -> _Answer:
    """Returns the better of an answer and the one of given bit widths; those where it has none."""
    offer, known = _share(market, index), answer.band.energy
    return select(jnp.isnan(known) | (offer.band.energy < known), offer, answer)


def _share(market: _Market, index: Array) -> _Answer:
    """Shares the band between given bit widths; infinite energy if they violate a limit."""
    problem, bit_widths = market.problem, market.bit_widths
    least_hz = pick(bit_widths.least_hz, index)
    is_allowed = is_within(bit_widths.total(least_hz), problem)
    is_allowed &= bit_widths.total(pick(bit_widths.error, index)) <= market.budget
    band = share_band(problem, bit_width_payload(problem, index), least_hz, bit_widths.is_active)
    return _Answer(index, band._replace(energy=jnp.where(is_allowed, band.energy, jnp.inf)))


def _price_bit_widths(market: _Market, log_price: Array) -> tuple[BitWidthTable, Array]:
    """Returns the table [B, K] of ``E + mu (W - w)`` and error, and the bands W [B, K]."""
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
    """Returns the excess of the bands over the whole band at the multiplier's bit widths, Hz, [].

    If bit widths tie at the multiplier, both sides are mixed so that the error equals the budget.
    The excess is then the slope of the bound in the price of bandwidth.
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


def _try_all(market: _Market, found: _Found, start: Array) -> _Answer:
    """Returns the best solution of all combinations of bit widths, of which ``start`` is one.

    Combinations are tried in the order of their lower bounds, their energies at the price of
    bandwidth, until the bound is not below the best known energy.
    """
    bit_widths = market.bit_widths
    is_allowed = _sums(found.table.error) <= market.budget
    is_allowed &= is_within(_sums(bit_widths.by_band().energy), market.problem)
    bound = jnp.where(is_allowed, _sums(found.table.energy), jnp.inf)
    order = jnp.argsort(bound)
    shape = (len(BIT_WIDTHS),) * market.problem.num_clients

    def advance(state):
        answer, place = state  # at place -1 the answer is none yet
        index = jnp.stack(jnp.unravel_index(order[place], shape)).astype(jnp.int32)
        index = jnp.where(place < 0, start, index)
        return _take_better(market, answer, index), place + 1

    def is_unfinished(state):
        answer, place = state
        is_below = (place < order.size) & (bound[order[place]] < answer.band.energy)
        return (place < 0) | is_below

    first = (_no_answer(start), jnp.array(-1, jnp.int32))
    return jax.lax.while_loop(is_unfinished, advance, first)[0]


def _sums(rows: Array) -> Array:
    """Returns the sums over the clients of all combinations of rows, [B^K] of [B, K]."""
    sums = jnp.zeros(1, rows.dtype)
    for client in range(rows.shape[1]):
        sums = (sums[:, None] + rows[None, :, client]).reshape(-1)
    return sums
