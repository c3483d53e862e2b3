"""Selection of a few promising bit widths per client from a table of all of them.

Independent of time, channels and bits.
"""

from typing import NamedTuple

import jax.numpy as jnp

from fedjax_diffusion.allocation.search.multiplier import BitWidthTable, argmin_bit_width, pick
from fedjax_diffusion.types import Array


class Shortlist(NamedTuple):
    """Some bit widths of every client.

    Attributes:
      table: [A, K], their energy and error.
      bit_width_index: int32 [A, K], their indices in the whole table; may repeat.
    """

    table: BitWidthTable
    bit_width_index: Array


def least_regret(
    table: BitWidthTable, multiplier: Array, num_bit_widths: int
) -> tuple[Shortlist, Array]:
    """Returns each client's bit widths of least ``e + lambda v``, and the least excess of others.

    With a bit width outside the list, the energy is at least this excess above the dual bound at
    the multiplier.

    Args:
      table: [B, K].
      multiplier: [], lambda.
      num_bit_widths: A, 1..B.

    Returns:
      The list, and the least excess of a bit width outside it, in joules [], infinite if there is
      none.
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
      The list [3, K], loosest first; and the largest possible excess, in joules [K], of the list's
      least ``e + lambda v`` over the table's, for multipliers between the outer two: 0 if no bit
      width in between is left out.
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
    """Returns the height above the table's least cost at which two neighbours cross, joules [K].

    Each has the least cost, which is concave, at its own multiplier. In between, the lines are
    farthest from the least cost at their crossing.
    """
    (loose, tight), (most, least) = (values[row : row + 2] for values in shortlist.table)
    is_step = most > least
    crossing = jnp.where(is_step, (tight - loose) / jnp.where(is_step, most - least, 1.0), 0.0)
    cost = table.energy + crossing[None] * table.error
    excess = jnp.maximum(loose + crossing * most - pick(cost, argmin_bit_width(cost)), 0.0)
    return jnp.where(is_step, excess, 0.0)
