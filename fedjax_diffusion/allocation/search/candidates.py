"""A few levels per client that are worth a closer look, taken from a table of all of them.

Knows nothing of time, channels or bits.
"""

from typing import NamedTuple

import jax.numpy as jnp

from fedjax_diffusion.allocation.search.multiplier import LevelTable, argmin_level, pick
from fedjax_diffusion.types import Array


class Shortlist(NamedTuple):
    """Some levels of every client.

    Attributes:
      table: [A, K], their energy and error.
      level_index: int32 [A, K], which levels of the whole table they are; may repeat.
    """

    table: LevelTable
    level_index: Array


def least_regret(table: LevelTable, multiplier: Array, num_levels: int) -> tuple[Shortlist, Array]:
    """Returns each client's levels of least ``e + lambda v``, and what every other one costs more.

    With a level from outside the list the energy is at least that much above the dual bound at the
    multiplier.

    Args:
      table: [B, K].
      multiplier: [], lambda.
      num_levels: A, 1..B.

    Returns:
      The list, and the least excess of a level that is not in it, in joules [], infinite if there
      is none.
    """
    cost = table.energy + multiplier * table.error
    order = jnp.argsort(cost, axis=0).astype(jnp.int32)
    excess = jnp.take_along_axis(cost, order, axis=0) - jnp.min(cost, axis=0)[None]
    left_out = jnp.min(excess[num_levels:], initial=jnp.inf)
    return _shortlist(table, order[:num_levels]), left_out


def near_levels(table: LevelTable, multiplier: Array, ratio: Array) -> tuple[Shortlist, Array]:
    """Returns the levels that are cheapest at ``lambda / ratio``, ``lambda`` and ``lambda ratio``.

    Args:
      table: [B, K].
      multiplier: [], lambda >= 0.
      ratio: [], >= 1.

    Returns:
      The list [3, K], loosest first, and by how much, in joules [K], the least ``e + lambda v`` of
      the list may be above that of the table for a multiplier between the outer two: 0 where no
      level in between is left out.
    """
    index = jnp.stack(
        [
            argmin_level(table.energy + at * table.error)
            for at in (multiplier / ratio, multiplier, multiplier * ratio)
        ]
    )
    shortlist = _shortlist(table, index)
    return shortlist, _excess(table, shortlist, 0) + _excess(table, shortlist, 1)


def _shortlist(table: LevelTable, index: Array) -> Shortlist:
    rows = (jnp.take_along_axis(values, index, axis=0) for values in table)
    return Shortlist(LevelTable(*rows), index)


def _excess(table: LevelTable, shortlist: Shortlist, row: int) -> Array:
    """Returns how far above the table's least cost two neighbours' lines cross, in joules [K].

    Both are on the least cost, which is concave, at the outer multipliers; in between they are
    farthest from it where they cross.
    """
    (loose, tight), (most, least) = (values[row : row + 2] for values in shortlist.table)
    is_step = most > least
    crossing = jnp.where(is_step, (tight - loose) / jnp.where(is_step, most - least, 1.0), 0.0)
    cost = table.energy + crossing[None] * table.error
    excess = jnp.maximum(loose + crossing * most - pick(cost, argmin_level(cost)), 0.0)
    return jnp.where(is_step, excess, 0.0)
