"""Good integer bit widths near the multiplier's, with a bound that proves their quality.

At the multiplier some client has two bit widths of equal cost: the tight one leaves some of the
budget unused, the loose one exceeds it. First the tight one is taken and the rest of the budget is
filled. Then the loose one is fixed and the multiplier is searched again for the other clients; this
is repeated a few times. For few clients the bit widths of least cost are also enumerated. Works on
tables of energy and error, like the search.
"""

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.search.candidates import least_regret
from fedjax_diffusion.allocation.search.multiplier import (
    MAX_EXACT_CLIENTS,
    BitWidthTable,
    Priced,
    bracket_multiplier,
    enumerate_bit_widths,
    fill_budget,
    pick,
)
from fedjax_diffusion.types import Array

MAX_ENUMERATED_CLIENTS = 9
_MAX_COMBINATIONS = 20_000
_MAX_DIVES = 3
_CLOSE_ENOUGH = 1e-7


def round_bit_widths(table: BitWidthTable, budget: Array) -> Priced:
    """Returns the best bit widths found, the multiplier, and a bound on the energy of all others.

    Args:
      table: [B, K], at least one finite energy per client.
      budget: [], eps >= 0, may be infinite.

    Returns:
      Bit widths that meet the budget if any do, the multiplier of the dual bound, and the bound.
      The bound is the dual's; or for up to ``MAX_ENUMERATED_CLIENTS`` clients the smaller of the
      energy of the best enumerated bit widths and the dual bound of all others.

    Guarantees:
      Exact, with the energy as the bound, for up to ``MAX_EXACT_CLIENTS`` clients.
    """
    priced = _dive(table, budget)
    if table.energy.shape[1] > MAX_ENUMERATED_CLIENTS:
        return priced
    return _enumerate(table, priced, budget)


def _dive(table: BitWidthTable, budget: Array) -> Priced:
    def search(state):
        energy, priced, count, _ = state
        bracket = bracket_multiplier(BitWidthTable(energy, table.error), budget)
        is_first = count == 0
        multiplier = jnp.where(is_first, bracket.priced.multiplier, priced.multiplier)
        bound = jnp.where(is_first, bracket.priced.dual_bound, priced.dual_bound)
        index = fill_budget(table, bracket.priced.bit_width_index, budget, bound)
        is_better = _is_better(table, index, priced.bit_width_index, budget)
        index = jnp.where(is_first | is_better, index, priced.bit_width_index)
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
    """Fixes the loose bit width of the client with the largest tie; returns if there is one."""
    step = pick(error, loose_index) - pick(error, tight_index)
    client = jnp.argmax(step)
    is_loose = jnp.arange(energy.shape[0]) == loose_index[client]
    kept = jnp.where(is_loose, energy[:, client], jnp.inf)
    return energy.at[:, client].set(kept), step[client] > 0


def _enumerate(table: BitWidthTable, priced: Priced, budget: Array) -> Priced:
    num_bit_widths, num_clients = table.energy.shape
    num_listed = num_bit_widths
    if num_clients > MAX_EXACT_CLIENTS:
        num_listed = min(num_bit_widths, int(_MAX_COMBINATIONS ** (1.0 / num_clients)))
    shortlist, left_out = least_regret(table, priced.multiplier, num_listed)
    index = pick(shortlist.bit_width_index, enumerate_bit_widths(shortlist.table, budget))
    is_better = _is_better(table, index, priced.bit_width_index, budget)
    index = jnp.where(is_better, index, priced.bit_width_index)
    joules = jnp.sum(pick(table.energy, index))
    bound = jnp.minimum(joules, priced.dual_bound + left_out)
    return Priced(index, priced.multiplier, jnp.maximum(bound, priced.dual_bound))


def _is_better(table: BitWidthTable, index: Array, than: Array, budget: Array) -> Array:
    energy, other = (jnp.sum(pick(table.energy, bit_widths)) for bit_widths in (index, than))
    return (jnp.sum(pick(table.error, index)) <= budget) & (energy < other)
