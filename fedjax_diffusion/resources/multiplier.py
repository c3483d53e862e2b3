"""The outer search: one multiplier prices the clients' error, each then picks its cheapest level.

Works on tables of energy and error per level and client, and knows nothing of time, channels or
bits. With ``b_k(lambda) = argmin_b e_k(b) + lambda v_k(b)`` the total error falls as lambda grows,
and

    D(lambda) = sum_k min_b [e_k(b) + lambda v_k(b)] - lambda eps  <=  the least energy

is a concave lower bound, whose maximum is where the error crosses the budget.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedjax_diffusion.resources.bisection import bisect
from fedjax_diffusion.types import Array

_NUM_HALVINGS = 64
_MAX_FILL_PASSES = 64
_CLOSE_ENOUGH = 1e-9
_TINY, _HUGE = 1e-300, 1e300


class LevelTable(NamedTuple):
    """Energy and error of every client at every level.

    Attributes:
      energy: float64 [B, K], joules; infinite where the client may not use the level.
      error: float64 [B, K], its term of the squared error; 0 where the energy is infinite.
    """

    energy: Array
    error: Array


class Priced(NamedTuple):
    """The answer of the multiplier search.

    Attributes:
      level_index: int32 [K], levels that meet the budget where any do, else those of least error.
      multiplier: float64 [], lambda >= 0 of the best bound, joules per unit of squared error.
      dual_bound: float64 [], ``D(lambda)``, joules; unbounded, hence meaningless, where no levels
        meet the budget.
    """

    level_index: Array
    multiplier: Array
    dual_bound: Array


def pick(rows: Array, index: Array) -> Array:
    """Returns ``rows[index[k], k]`` [K] of ``rows`` [B, K]."""
    return jnp.take_along_axis(rows, index[None], axis=0)[0]


def least_error(table: LevelTable) -> Array:
    """Returns the index int32 [K] of each client's level of least error, the cheapest of those."""
    least = jnp.min(jnp.where(jnp.isfinite(table.energy), table.error, jnp.inf), axis=0)
    return _argmin(jnp.where(table.error <= least[None], table.energy, jnp.inf))


def search_multiplier(table: LevelTable, budget: Array) -> Priced:
    """Finds the multiplier that maximises the dual bound, and feasible levels beside it.

    Args:
      table: [B, K], at least one finite energy per client.
      budget: [], eps >= 0, may be infinite.

    Returns:
      The levels, the multiplier and the bound. Exact up to rounding for the bound; the levels are
      the best of those on the lower convex hull of each client, so their energy may exceed the
      least by one client's step.
    """
    cheapest, finest = _argmin(table.energy), least_error(table)

    def levels_at(multiplier):
        return _argmin(table.energy + multiplier * table.error)

    def error_of(index):
        return jnp.sum(pick(table.error, index))

    low, high = bisect(
        lambda log_multiplier: budget - error_of(levels_at(jnp.exp(log_multiplier))),
        *_log_bracket(table, cheapest, finest),
        _NUM_HALVINGS,
    )
    priced = levels_at(jnp.exp(high))
    index = jnp.where(error_of(priced) <= budget, priced, finest)
    candidates = jnp.stack(
        [jnp.zeros_like(low), jnp.exp(low), jnp.exp(high), _crossing(table, levels_at, low, high)]
    )
    bounds = jnp.stack([_dual(table, budget, multiplier) for multiplier in candidates])
    best = jnp.argmax(bounds)
    return Priced(index, candidates[best], bounds[best])


def fill_budget(table: LevelTable, index: Array, budget: Array, lower_bound: Array) -> Array:
    """Spends what is left of the budget on single clients, the most energy per error first.

    Every pass offers each client its best move that fits, takes the best of them as far as they fit
    together, and ends when no move is left or the energy is within ``_CLOSE_ENOUGH`` of the lower
    bound.

    Args:
      table: [B, K].
      index: int32 [K], levels that meet the budget.
      budget: [], eps.
      lower_bound: [], joules, from the dual.

    Returns:
      index int32 [K]; meets the budget, and its energy is not above that of the argument.
    """

    def take_moves(state):
        index, _, num_passes = state
        energy, error = pick(table.energy, index), pick(table.error, index)
        slack = budget - jnp.sum(error)
        saved, added = energy[None] - table.energy, table.error - error[None]
        worth = jnp.where(
            (saved > 0) & (added <= slack), saved / jnp.maximum(added, _TINY), -jnp.inf
        )
        target = jnp.argmax(worth, axis=0).astype(index.dtype)
        best_worth, best_added = pick(worth, target), pick(added, target)
        order = jnp.argsort(-best_worth)
        has_move = best_worth > 0
        spent = jnp.cumsum(jnp.where(has_move, best_added, 0.0)[order])
        is_taken = jnp.zeros_like(has_move).at[order].set(spent <= slack) & has_move
        moved = jnp.where(is_taken, target, index)
        is_within = jnp.any(is_taken) & (jnp.sum(pick(table.error, moved)) <= budget)
        return jnp.where(is_within, moved, index), is_within, num_passes + 1

    def is_unfinished(state):
        index, has_moved, num_passes = state
        energy = jnp.sum(pick(table.energy, index))
        is_open = energy - lower_bound > _CLOSE_ENOUGH * energy
        return has_moved & is_open & (num_passes < _MAX_FILL_PASSES)

    start = (index, jnp.array(True), jnp.array(0, jnp.int32))
    return jax.lax.while_loop(is_unfinished, take_moves, start)[0]


def enumerate_levels(table: LevelTable, budget: Array) -> Array:
    """Returns the best levels int32 [K] of all ``B^K`` combinations; for a handful of clients."""
    num_levels, num_clients = table.energy.shape
    energy = error = jnp.zeros(1, table.energy.dtype)
    for client in range(num_clients):
        energy = (energy[:, None] + table.energy[None, :, client]).reshape(-1)
        error = (error[:, None] + table.error[None, :, client]).reshape(-1)
    best = jnp.argmin(jnp.where(error <= budget, energy, jnp.inf))
    return jnp.stack(jnp.unravel_index(best, (num_levels,) * num_clients)).astype(jnp.int32)


def _argmin(rows: Array) -> Array:
    return jnp.argmin(rows, axis=0).astype(jnp.int32)


def _log_bracket(table: LevelTable, cheapest: Array, finest: Array) -> tuple[Array, Array]:
    """Returns logs of multipliers below which all are cheapest, above which all are finest."""
    is_usable = jnp.isfinite(table.energy)

    def slopes(index, sign):
        """Joules per unit of error between each level and ``index``; 0 where it is no step."""
        error_step = sign * (table.error - pick(table.error, index)[None])
        energy_step = sign * (pick(table.energy, index)[None] - table.energy)
        is_step = is_usable & (error_step > 0) & (energy_step > 0)
        return jnp.where(is_step, energy_step, 0.0) / jnp.where(is_step, error_step, 1.0)

    highest = jnp.clip(jnp.max(slopes(finest, 1.0)), _TINY, _HUGE)
    upward = slopes(cheapest, -1.0)
    lowest = jnp.min(jnp.where(upward > 0, upward, highest))
    return jnp.log(jnp.maximum(lowest, _TINY)) - 1.0, jnp.log(highest) + 1.0


def _crossing(table: LevelTable, levels_at, low: Array, high: Array) -> Array:
    """Returns where the dual's supporting lines at both ends of the bracket meet: its peak."""
    loose, tight = levels_at(jnp.exp(low)), levels_at(jnp.exp(high))
    energy_step = jnp.sum(pick(table.energy, tight) - pick(table.energy, loose))
    error_step = jnp.sum(pick(table.error, loose) - pick(table.error, tight))
    is_step = (error_step > 0) & (energy_step > 0)
    return jnp.where(is_step, energy_step / jnp.where(is_step, error_step, 1.0), 0.0)


def _dual(table: LevelTable, budget: Array, multiplier: Array) -> Array:
    """Returns ``D(lambda)``; at 0 the energy of the cheapest levels, whatever the budget."""
    least = jnp.sum(jnp.min(table.energy + multiplier * table.error, axis=0))
    is_finite = jnp.isfinite(budget)
    credit = jnp.where(is_finite, multiplier * jnp.where(is_finite, budget, 0.0), 0.0)
    return least - jnp.where(is_finite | (multiplier == 0), credit, jnp.inf)
