"""Outer search: one multiplier prices the error, each client picks its cheapest bit width.

Works on tables of energy and error per bit width and client, independent of time, channels and
bits. With ``b_k(lambda) = argmin_b e_k(b) + lambda v_k(b)`` the total error falls as lambda grows,
and

    D(lambda) = sum_k min_b [e_k(b) + lambda v_k(b)] - lambda eps  <=  the least energy

is a concave lower bound, whose maximum is where the error crosses the budget. It is piecewise
linear, and the bit widths at one lambda give a supporting line. The search evaluates the crossing
of the lines at both ends of a bracket, again and again (Kelley's cutting planes in one dimension).
This halves the bracket as long as D looks smooth; once the crossing lies on D, it is the exact
maximum, after about twelve evaluations.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.float64 import TINY
from fedjax_diffusion.allocation.search.bisection import bisect
from fedjax_diffusion.allocation.search.select import select
from fedjax_diffusion.types import Array

MAX_EXACT_CLIENTS = 4
"""Up to this number of clients, all combinations of bit widths are compared."""
_MAX_STEPS = 200
_CLOSED = 1e-11
_MAX_FILL_PASSES = 4
_CLOSE_ENOUGH = 1e-9
_MAX_CLIENTS_MOVED_TOGETHER = 20_000
_NUM_HALVINGS = 20
_HUGE = 1e300


class BitWidthTable(NamedTuple):
    """Energy and error of every client at every bit width.

    Attributes:
      energy: float64 [B, K], joules; infinite where the client may not use the bit width.
      error: float64 [B, K], its term of the squared error; 0 where the energy is infinite.
    """

    energy: Array
    error: Array


class Priced(NamedTuple):
    """Result of the multiplier search.

    Attributes:
      bit_width_index: int32 [K], bit widths that meet the budget if any do, else those of least
        error.
      multiplier: float64 [], lambda >= 0 of the best bound, joules per unit of squared error.
      dual_bound: float64 [], ``D(lambda)``, joules; unbounded, hence meaningless, if no bit widths
        meet the budget.
    """

    bit_width_index: Array
    multiplier: Array
    dual_bound: Array


class Bracket(NamedTuple):
    """Bit widths on both sides of the multiplier of the best bound.

    Attributes:
      loose_index: int32 [K], the cheapest bit widths just below it: over the budget, unless no
        multiplier is needed.
      tight_index: int32 [K], just above it: within the budget if any bit widths are.
      priced: the result of the search.
    """

    loose_index: Array
    tight_index: Array
    priced: Priced


class _Point(NamedTuple):
    """A multiplier with the total energy and error of its cheapest bit widths; float64 [] each."""

    multiplier: Array
    energy: Array
    error: Array

    def bound(self, budget: Array) -> Array:
        """Returns ``D`` at the multiplier; for a finite budget."""
        return self.energy + self.multiplier * (self.error - budget)


def pick(rows: Array, index: Array) -> Array:
    """Returns ``rows[index[k], k]`` [K] of ``rows`` [B, K]."""
    return rows[index, jnp.arange(rows.shape[1])]


def least_error(table: BitWidthTable) -> Array:
    """Returns the index int32 [K] of each client's cheapest bit width of least error."""
    usable = jnp.where(jnp.isfinite(table.energy), table.error, jnp.inf)
    least = pick(usable, argmin_bit_width(usable))
    return argmin_bit_width(jnp.where(table.error <= least[None], table.energy, jnp.inf))


def search_multiplier(table: BitWidthTable, budget: Array) -> Priced:
    """Finds the multiplier that maximizes the dual bound, and feasible bit widths near it.

    Args:
      table: [B, K], at least one finite energy per client.
      budget: [], eps >= 0, may be infinite.

    Returns:
      The bit widths, the multiplier and the bound. The bound is exact up to rounding. The bit
      widths are the best on the clients' lower convex hulls, so their energy may exceed the least
      by one client's step.
    """
    return bracket_multiplier(table, budget).priced


def bracket_multiplier(table: BitWidthTable, budget: Array) -> Bracket:
    """Returns ``search_multiplier``'s result, and the bit widths on both sides of it."""
    cheapest, finest = argmin_bit_width(table.energy), least_error(table)
    free, least = _total(table, cheapest, 0.0), _total(table, finest, _HUGE)
    is_free, is_missed = free.error <= budget, least.error > budget
    # If no multiplier is needed, or none helps, any finite budget will do.
    target = jnp.where(is_free, free.error, budget)

    def step(state):
        low, high, best, count, _ = state
        crossing, peak = _crossing(low, high, target)
        point = _total(table, _bit_widths_at(table, crossing), crossing)
        is_loose = point.error > target
        low, high = select(is_loose, point, low), select(is_loose, high, point)
        best = select(point.bound(target) > best.bound(target), point, best)
        is_open = peak - best.bound(target) > _CLOSED * (jnp.abs(peak) + crossing * target)
        return low, high, best, count + 1, is_open

    def is_unfinished(state):
        return state[4] & (state[3] < _MAX_STEPS)

    start = (free, least, free, jnp.array(0, jnp.int32), ~(is_free | is_missed))
    low, high, best, _, _ = jax.lax.while_loop(is_unfinished, step, start)
    loose = jnp.where(is_missed, finest, _bit_widths_at(table, low.multiplier))
    tight = jnp.where(high.multiplier < _HUGE, _bit_widths_at(table, high.multiplier), finest)
    tight = jnp.where(is_free, loose, tight)
    index = jnp.where(is_missed, finest, _mix(table, loose, tight, target))
    return Bracket(loose, tight, Priced(index, best.multiplier, best.bound(target)))


def fill_budget(table: BitWidthTable, index: Array, budget: Array, lower_bound: Array) -> Array:
    """Spends the unused budget on the moves that save the most energy.

    Every pass takes the better of two options: the move of one client that saves most and fits; or,
    for up to ``_MAX_CLIENTS_MOVED_TOGETHER`` clients, the moves that save most per error, one per
    client, as far as they fit together. It ends when no move is left or the energy is within
    ``_CLOSE_ENOUGH`` of the lower bound.

    Args:
      table: [B, K].
      index: int32 [K], bit widths that meet the budget.
      budget: [], eps.
      lower_bound: [], joules, from the dual.

    Returns:
      The new index, int32 [K]: it meets the budget at no more energy than the given one.
    """
    is_small = table.energy.shape[1] <= _MAX_CLIENTS_MOVED_TOGETHER

    def take_moves(state):
        index, _, num_passes = state
        moves = _moves(table, index, budget)
        moved = _best_move(moves, index)
        if is_small:
            many = _best_moves(moves, index)
            is_better = _energy(table, many) < _energy(table, moved)
            moved = jnp.where(is_better, many, moved)
        is_better = _energy(table, moved) < _energy(table, index)
        is_better &= jnp.sum(pick(table.error, moved)) <= budget
        return jnp.where(is_better, moved, index), is_better, num_passes + 1

    def is_unfinished(state):
        index, has_moved, num_passes = state
        energy = _energy(table, index)
        is_open = energy - lower_bound > _CLOSE_ENOUGH * jnp.abs(energy)
        return has_moved & is_open & (num_passes < _MAX_FILL_PASSES)

    start = (index, jnp.array(True), jnp.array(0, jnp.int32))
    return jax.lax.while_loop(is_unfinished, take_moves, start)[0]


def enumerate_bit_widths(table: BitWidthTable, budget: Array) -> Array:
    """Returns the best bit widths int32 [K] of all ``B^K`` combinations; for few clients."""
    num_bit_widths, num_clients = table.energy.shape
    energy = error = jnp.zeros(1, table.energy.dtype)
    for client in range(num_clients):
        energy = (energy[:, None] + table.energy[None, :, client]).reshape(-1)
        error = (error[:, None] + table.error[None, :, client]).reshape(-1)
    best = jnp.argmin(jnp.where(error <= budget, energy, jnp.inf))
    return jnp.stack(jnp.unravel_index(best, (num_bit_widths,) * num_clients)).astype(jnp.int32)


class _Moves(NamedTuple):
    """Joules saved and error added by moving a client to a bit width; [B, K] each.

    The saving is zero for a move that exceeds the budget. ``slack`` [] is the unused budget.
    """

    saved: Array
    added: Array
    slack: Array


def _moves(table: BitWidthTable, index: Array, budget: Array) -> _Moves:
    energy, error = pick(table.energy, index), pick(table.error, index)
    slack = budget - jnp.sum(error)
    saved, added = energy[None] - table.energy, table.error - error[None]
    return _Moves(jnp.where(added <= slack, saved, -jnp.inf), added, slack)


def _best_move(moves: _Moves, index: Array) -> Array:
    """Returns the bit widths after the one move that saves most."""
    target = argmin_bit_width(-moves.saved)
    client = jnp.argmax(pick(moves.saved, target))
    return index.at[client].set(target[client])


def _best_moves(moves: _Moves, index: Array) -> Array:
    """Returns the bit widths after the moves that save most per error, as far as they fit."""
    worth = jnp.where(moves.saved > 0, moves.saved / jnp.maximum(moves.added, TINY), 0.0)
    target = argmin_bit_width(-worth)
    log_worth = jnp.log(jnp.clip(pick(worth, target), TINY, _HUGE))
    added = pick(moves.added, target)
    is_move = pick(worth, target) > 0

    def is_taken(least):
        return is_move & (log_worth >= least)

    _, least = bisect(
        lambda least: moves.slack - jnp.sum(jnp.where(is_taken(least), added, 0.0)),
        jnp.min(jnp.where(is_move, log_worth, jnp.max(log_worth))),
        jnp.max(log_worth) + 1.0,
        _NUM_HALVINGS,
    )
    return jnp.where(is_taken(least), target, index)


def _mix(table: BitWidthTable, loose: Array, tight: Array, budget: Array) -> Array:
    """Returns the tight bit widths, replaced by the loose ones for the first clients that fit.

    At the multiplier both cost the same; if many clients tie, this uses up the budget.
    """
    added = pick(table.error, loose) - pick(table.error, tight)
    slack = budget - jnp.sum(pick(table.error, tight))
    mixed = jnp.where(jnp.cumsum(added) <= slack, loose, tight)
    is_within = jnp.sum(pick(table.error, mixed)) <= budget
    return jnp.where(is_within, mixed, tight)


def argmin_bit_width(rows: Array) -> Array:
    """Returns the first index int32 [K] of the minimum of each column of ``rows`` [B, K]."""
    return jax.lax.argmin(rows, 0, jnp.int32)


def _bit_widths_at(table: BitWidthTable, multiplier: Array) -> Array:
    return argmin_bit_width(table.energy + multiplier * table.error)


def _energy(table: BitWidthTable, index: Array) -> Array:
    return jnp.sum(pick(table.energy, index))


def _total(table: BitWidthTable, index: Array, multiplier: Array | float) -> _Point:
    return _Point(
        jnp.asarray(multiplier, table.energy.dtype),
        _energy(table, index),
        jnp.sum(pick(table.error, index)),
    )


def _crossing(low: _Point, high: _Point, budget: Array) -> tuple[Array, Array]:
    """Returns the multiplier and the value at which a bracket's two supporting lines cross."""
    error_step = low.error - high.error
    is_step = error_step > 0
    slope = (high.energy - low.energy) / jnp.where(is_step, error_step, 1.0)
    multiplier = jnp.where(is_step, jnp.clip(slope, 0.0, _HUGE), 0.0)
    return multiplier, low.energy + multiplier * (low.error - budget)
