"""Good integer levels beside the multiplier's, and what proves that they are good.

At the multiplier some client has two levels of equal cost: with the tight one budget is left over,
with the loose one it is exceeded. First the tight one is taken and the rest of the budget filled.
Then the loose one is kept for good and the multiplier searched again for the others; and so on, a
few times. Of a few clients the levels of least cost are also enumerated. Works on tables of energy
and error, like the search.
"""

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.search.candidates import least_regret
from fedjax_diffusion.allocation.search.multiplier import (
    LevelTable,
    Priced,
    bracket_multiplier,
    enumerate_levels,
    fill_budget,
    pick,
)
from fedjax_diffusion.types import Array

MAX_EXACT_CLIENTS = 4
MAX_ENUMERATED_CLIENTS = 9
_MAX_COMBINATIONS = 20_000
_MAX_DIVES = 3
_CLOSE_ENOUGH = 1e-7


def round_levels(table: LevelTable, budget: Array) -> Priced:
    """Returns the best levels found, the multiplier, and a bound on the energy of all others.

    Args:
      table: [B, K], at least one finite energy per client.
      budget: [], eps >= 0, may be infinite.

    Returns:
      Levels that meet the budget where any do, the multiplier of the dual bound, and the bound.
      That is the dual's; or for up to ``MAX_ENUMERATED_CLIENTS`` clients the lesser of what the
      best enumerated levels need and of what any other levels need by the dual.

    Guarantees: exact, with the energy as the bound, for up to ``MAX_EXACT_CLIENTS`` clients.
    """
    priced = _dive(table, budget)
    if table.energy.shape[1] > MAX_ENUMERATED_CLIENTS:
        return priced
    return _enumerate(table, priced, budget)


def _dive(table: LevelTable, budget: Array) -> Priced:
    def search(state):
        energy, priced, count, _ = state
        bracket = bracket_multiplier(LevelTable(energy, table.error), budget)
        is_first = count == 0
        multiplier = jnp.where(is_first, bracket.priced.multiplier, priced.multiplier)
        bound = jnp.where(is_first, bracket.priced.dual_bound, priced.dual_bound)
        index = fill_budget(table, bracket.priced.level_index, budget, bound)
        is_better = _is_better(table, index, priced.level_index, budget)
        index = jnp.where(is_first | is_better, index, priced.level_index)
        energy, has_tie = _keep_loose(energy, table.error, bracket.loose_index, bracket.tight_index)
        joules = jnp.sum(pick(table.energy, index))
        is_open = has_tie & (joules - bound > _CLOSE_ENOUGH * jnp.abs(joules))
        return energy, Priced(index, multiplier, bound), count + 1, is_open

    def is_unfinished(state):
        return state[3] & (state[2] < _MAX_DIVES)

    index, zero = jnp.zeros(table.energy.shape[1], jnp.int32), jnp.zeros((), table.energy.dtype)
    start = (table.energy, Priced(index, zero, zero), jnp.array(0, jnp.int32), jnp.array(True))
    return jax.lax.while_loop(is_unfinished, search, start)[1]


def _keep_loose(
    energy: Array, error: Array, loose_index: Array, tight_index: Array
) -> tuple[Array, Array]:
    """Leaves the client whose tie weighs most its loose level; and returns if there is one."""
    step = pick(error, loose_index) - pick(error, tight_index)
    client = jnp.argmax(step)
    is_loose = jnp.arange(energy.shape[0]) == loose_index[client]
    kept = jnp.where(is_loose, energy[:, client], jnp.inf)
    return energy.at[:, client].set(kept), step[client] > 0


def _enumerate(table: LevelTable, priced: Priced, budget: Array) -> Priced:
    num_levels, num_clients = table.energy.shape
    num_listed = num_levels
    if num_clients > MAX_EXACT_CLIENTS:
        num_listed = min(num_levels, int(_MAX_COMBINATIONS ** (1.0 / num_clients)))
    shortlist, left_out = least_regret(table, priced.multiplier, num_listed)
    index = pick(shortlist.level_index, enumerate_levels(shortlist.table, budget))
    is_better = _is_better(table, index, priced.level_index, budget)
    index = jnp.where(is_better, index, priced.level_index)
    joules = jnp.sum(pick(table.energy, index))
    bound = jnp.minimum(joules, priced.dual_bound + left_out)
    return Priced(index, priced.multiplier, jnp.maximum(bound, priced.dual_bound))


def _is_better(table: LevelTable, index: Array, than: Array, budget: Array) -> Array:
    energy, other = (jnp.sum(pick(table.energy, levels)) for levels in (index, than))
    return (jnp.sum(pick(table.error, index)) <= budget) & (energy < other)
