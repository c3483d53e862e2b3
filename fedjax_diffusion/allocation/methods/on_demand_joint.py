"""The on-demand allocator over one shared band: bits, compute times and bands together.

With a price ``lambda`` of error and a price ``mu`` of bandwidth

    D(lambda, mu) = sum_k min_{b, tau, W} [E_k + lambda v_k(b) + mu (W - w_k)] - lambda eps

is concave and below the least energy, for any shares ``w`` of the whole band. For each ``mu`` the
clients' best split is tabled per level and the multiplier search finds ``lambda``; ``mu`` is where
the bands that it takes add up to the whole. At a price of bandwidth the levels' energies are not
discrete-convex in the bits, so levels are compared over the hull of (error, energy), as that search
does.

Every price that is tried also gives an answer: the levels that its table favours, with the band
shared between them exactly. Up to four clients all combinations whose bound is below the best known
are tried instead, which is exact.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.allocation import ERROR_SLACK, Choice
from fedjax_diffusion.allocation.band.levels import (
    MAX_EXACT_CLIENTS,
    BandLevels,
    band_levels,
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
    LEVELS,
    AllocationProblem,
    level_error,
    level_index,
    level_payload,
)
from fedjax_diffusion.allocation.search.multiplier import (
    LevelTable,
    Priced,
    fill_budget,
    least_error,
    pick,
    search_multiplier,
)
from fedjax_diffusion.allocation.search.price_search import Tried, search_price
from fedjax_diffusion.allocation.search.time_split import SplitFn
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.types import Array

_TIE = 1e-7


class _Market(NamedTuple):
    """What the search trades in.

    Attributes:
      problem: K clients.
      levels: what they may send.
      budget: [], eps.
      shares: float64 [K], Hz, of the whole band: what each buys from or sells to.
    """

    problem: AllocationProblem
    levels: BandLevels
    budget: Array
    shares: Array


class _Answer(NamedTuple):
    """Levels int32 [K], and the band shared between them; infinite energy where they do not fit."""

    chosen: Array
    band: SharedBand


class _Found(NamedTuple):
    """The best bound so far with what proves it, and the best answer so far."""

    bound: Array
    price: Array
    multiplier: Array
    table: LevelTable
    answer: _Answer


def on_demand_jointly(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Chooses the levels and shares of the band of least energy whose error meets the budget.

    Args:
      problem: K clients; only the sum of their ``bandwidth_hz`` matters.
      split: not used; the time is split well.

    Guarantees: the error is within the budget and the bands within their sum, to rounding, wherever
    the status is OPTIMAL. Exact up to four clients.
    """
    del split
    levels = band_levels(problem)
    budget = problem.error_budget * (1.0 + ERROR_SLACK)
    start, status, smallest_error = _find_feasible(problem, levels, budget)
    found = _search(problem, levels, budget, start, jnp.any(status == Status.OPTIMAL))
    chosen, band = found.answer
    index = jnp.where(status == Status.INFEASIBLE_BANDWIDTH, start, level_index(problem.min_bits))
    index = jnp.where(status == Status.OPTIMAL, chosen, index)
    payload = level_payload(problem, index)
    least_hz = pick(levels.least_hz, index)
    return Choice(
        num_bits=jnp.array(LEVELS, jnp.int32)[index],
        payload=payload,
        error=level_error(problem, index),
        status=status,
        smallest_error=smallest_error,
        multiplier=found.multiplier,
        dual_bound=found.bound,
        residual=band_residual(problem, payload, least_hz, levels.is_active, band),
        bandwidth_hz=band.bandwidth_hz,
        bandwidth_price=found.price,
    )


def _find_feasible(
    problem: AllocationProblem, levels: BandLevels, budget: Array
) -> tuple[Array, Array, Array]:
    """Returns levels to start from, the status int32 [K], and the smallest error in reach, [].

    The levels are those that need the least band within the budget; without an error budget in
    reach, at all.
    """

    def fits(index):
        return is_within(levels.total(pick(levels.least_hz, index)), problem)

    def error_of(index):
        return levels.total(pick(levels.error, index))

    tables = (levels.by_band(), levels.by_error(levels.error))
    tables = jax.tree.map(lambda *rows: jnp.stack(rows), *tables)
    limits = jnp.stack([budget, total_bandwidth(problem) * (1.0 + BAND_SLACK)])
    start, finest = jax.lax.map(lambda pair: least_cost(*pair), (tables, limits))
    # Both may be greedy: what one misses, the other may have found.
    start = jnp.where(~fits(start) & (error_of(finest) <= budget), finest, start)
    is_reachable = error_of(least_error(levels.by_band())) <= budget
    narrowest = jnp.argmin(levels.by_band().energy, axis=0).astype(start.dtype)
    start = jnp.where(is_reachable, start, narrowest)
    status = jnp.where(is_reachable, Status.OPTIMAL, Status.INFEASIBLE_ERROR)
    status = jnp.where(fits(start), status, Status.INFEASIBLE_BANDWIDTH)
    status = jnp.where(levels.is_active, status, levels.status).astype(jnp.int32)
    return start, status, error_of(finest)


def _search(
    problem: AllocationProblem,
    levels: BandLevels,
    budget: Array,
    start: Array,
    is_feasible: Array,
) -> _Found:
    """Returns the best bound and the best answer, from levels to start from."""
    least_hz = pick(levels.least_hz, start)
    even = share_evenly(problem, level_payload(problem, start), least_hz, levels.is_active)
    market = _Market(problem, levels, budget, even.bandwidth_hz)
    is_exact = problem.num_clients <= MAX_EXACT_CLIENTS

    def evaluate(log_price, found):
        table, bands = _price_levels(market, log_price)
        priced = search_multiplier(table, budget)
        answer = found.answer
        here = _Found(priced.dual_bound, jnp.exp(log_price), priced.multiplier, table, answer)
        best = _select(priced.dual_bound > found.bound, here, found)
        if not is_exact:
            index = fill_budget(table, priced.level_index, budget, priced.dual_bound)
            offer = _share(market, index)
            answer = _select(offer.band.energy < answer.band.energy, offer, answer)
        # Where nothing is feasible, no bound is worth a search.
        known = jnp.where(is_feasible, answer.band.energy, -jnp.inf)
        slope = _mixed_band(market, table, bands, priced)
        return Tried(priced.dual_bound, slope, known), best._replace(answer=answer)

    log_price = jnp.sum(jnp.where(levels.is_active, even.log_price, 0.0))
    log_price = log_price / jnp.maximum(jnp.sum(levels.is_active), 1)
    nothing = jnp.zeros_like(log_price)
    answer = _Answer(start, SharedBand(even.bandwidth_hz, nothing, nothing + jnp.inf, nothing))
    table = LevelTable(jnp.zeros_like(levels.error), levels.error)
    found = _Found(nothing - jnp.inf, nothing, nothing, table, answer)
    found = search_price(evaluate, log_price, found)
    return found._replace(answer=_try_all(market, found)) if is_exact else found


def _share(market: _Market, index: Array) -> _Answer:
    """Shares the band between given levels; infinite energy where they break a limit."""
    problem, levels = market.problem, market.levels
    least_hz = pick(levels.least_hz, index)
    is_allowed = is_within(levels.total(least_hz), problem)
    is_allowed &= levels.total(pick(levels.error, index)) <= market.budget
    band = share_band(problem, level_payload(problem, index), least_hz, levels.is_active)
    return _Answer(index, band._replace(energy=jnp.where(is_allowed, band.energy, jnp.inf)))


def _select(condition: Array, first, second):
    """Returns one of two trees of arrays."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), first, second)


def _price_levels(market: _Market, log_price: Array) -> tuple[LevelTable, Array]:
    """Returns the table [B, K] of ``E + mu (W - w)`` and error, and the bands W [B, K] it takes."""
    problem, levels = market.problem, market.levels

    def level_row(row):
        index, least_hz = row
        payload = level_payload(problem, jnp.full(problem.num_clients, index))
        priced = split_at_price(problem, payload, least_hz, log_price)
        energy = priced.total_joules + jnp.exp(log_price) * (priced.bandwidth_hz - market.shares)
        is_usable = jnp.isfinite(least_hz)
        return jnp.where(is_usable, energy, jnp.inf), priced.bandwidth_hz

    energy, bands = jax.lax.map(level_row, (jnp.arange(len(LEVELS)), levels.least_hz))
    return levels.table(energy, levels.error), bands


def _mixed_band(market: _Market, table: LevelTable, bands: Array, priced: Priced) -> Array:
    """Returns how much band more than there is the levels at the multiplier take, Hz, [].

    Where levels tie at the multiplier, the mixture of both sides whose error is the budget: that is
    the slope of the bound in the price of bandwidth.
    """

    def levels_at(multiplier):
        index = jnp.argmin(table.energy + multiplier * table.error, axis=0)
        excess = jnp.where(market.levels.is_active, pick(bands, index) - market.shares, 0.0)
        return jnp.sum(pick(table.error, index)), jnp.sum(excess)

    loose_error, loose_band = levels_at(priced.multiplier * (1.0 - _TIE))
    tight_error, tight_band = levels_at(priced.multiplier * (1.0 + _TIE))
    step = loose_error - tight_error
    share = jnp.where(step > 0, (market.budget - tight_error) / jnp.where(step > 0, step, 1.0), 1.0)
    share = jnp.clip(share, 0.0, 1.0)
    return share * loose_band + (1.0 - share) * tight_band


def _try_all(market: _Market, found: _Found) -> _Answer:
    """Returns the best answer of all combinations of levels.

    In the order of their energies at the price of bandwidth, which bound theirs from below, until
    the bound is not below the best known.
    """
    levels = market.levels
    is_allowed = _sums(found.table.error) <= market.budget
    is_allowed &= is_within(_sums(levels.by_band().energy), market.problem)
    bound = jnp.where(is_allowed, _sums(found.table.energy), jnp.inf)
    order = jnp.argsort(bound)

    shape = (len(LEVELS),) * market.problem.num_clients

    def advance(state):
        answer, place = state
        index = jnp.stack(jnp.unravel_index(order[place], shape)).astype(jnp.int32)
        offer = _share(market, index)
        return _select(offer.band.energy < answer.band.energy, offer, answer), place + 1

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
