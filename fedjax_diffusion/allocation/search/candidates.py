"""A few bit widths per client that are worth a closer look, taken from a table of all of them.

Knows nothing of time, channels or bits.
"""

from typing import NamedTuple

import jax.numpy as jnp

from fedjax_diffusion.allocation.search.multiplier import BitWidthTable, argmin_bit_width, pick
from fedjax_diffusion.types import Array


class Shortlist(NamedTuple):
    """Some bit widths of every client.

    Attributes:
      table: [A, K], their energy and error.
      bit_width_index: int32 [A, K], which bit widths of the whole table they are; may repeat.
    """

    table: BitWidthTable
    bit_width_index: Array


def least_regret(
    table: BitWidthTable, multiplier: Array, num_bit_widths: int
) -> tuple[Shortlist, Array]:
    """Returns each client's bit widths of least ``e + lambda v``, and what any other costs more.

    With a bit width from outside the list the energy is at least that much above the dual bound at
    the multiplier.

    Args:
      table: [B, K].
      multiplier: [], lambda.
      num_bit_widths: A, 1..B.

    Returns:
      The list, and the least excess of a bit width that is not in it, in joules [], infinite if
      there is none.
    """
    cost = table.energy + multiplier * table.error
    order = jnp.argsort(cost, axis=0).astype(jnp.int32)
    excess = jnp.take_along_axis(cost, order, axis=0) - jnp.min(cost, axis=0)[None]
    left_out = jnp.min(excess[num_bit_widths:], initial=jnp.inf)
    return _shortlist(table, order[:num_bit_widths]), left_out


def near_bit_widths(
    table: BitWidthTable, multiplier: Array, ratio: Array
) -> tuple[Shortlist, Array]:
    """Returns the cheapest bit widths at ``lambda / ratio``, ``lambda`` and ``lambda ratio``.

    Args:
      table: [B, K].
      multiplier: [], lambda >= 0.
      ratio: [], >= 1.

    Returns:
      The list [3, K], loosest first, and by how much, in joules [K], the least ``e + lambda v`` of
      the list may be above that of the table for a multiplier between the outer two: 0 where no
      bit width in between is left out.
    """
    index = jnp.stack(
        [
            argmin_bit_width(table.energy + at * table.error)
            for at in (multiplier / ratio, multiplier, multiplier * ratio)
        ]
    )
    shortlist = _shortlist(table, index)
    return shortlist, _excess(table, shortlist, 0) + _excess(table, shortlist, 1)


def _shortlist(table: BitWidthTable, index: Array) -> Shortlist:
    rows = (jnp.take_along_axis(values, index, axis=0) for values in table)
    return Shortlist(BitWidthTable(*rows), index)


def _excess(table: BitWidthTable, shortlist: Shortlist, row: int) -> Array:
    """Returns how far above the table's least cost two neighbours' lines cross, in joules [K].

    Both are on the least cost, which is concave, at the outer multipliers; in between they are
    farthest from it where they cross.
    """
    (loose, tight), (most, least) = (values[row : row + 2] for values in shortlist.table)
    is_step = most > least
    crossing = jnp.where(is_step, (tight - loose) / jnp.where(is_step, most - least, 1.0), 0.0)
    cost = table.energy + crossing[None] * table.error
    excess = jnp.maximum(loose + crossing * most - pick(cost, argmin_bit_width(cost)), 0.0)
    return jnp.where(is_step, excess, 0.0)
