"""Very many clients: the bit widths that matter of each, without the table of all of them.

A sample of the clients tells the multiplier to within a few percent. The table is then made a chunk
at a time, and of every client the bit widths are kept that are cheapest at half of that multiplier,
at it, and at twice of it. What the bit widths in between could take off the dual bound is added up.
It is nothing where a client's neighbouring bit widths have prices a factor of two apart, as they
have with errors like ``1 / (2^b - 1)^2``: then the search among the kept is the search among all.
Where the budget is not met between the outer two, or too much could be missed, the pass is repeated
where it is met.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.search.candidates import Shortlist, near_bit_widths
from fedjax_diffusion.allocation.search.chunks import map_chunks, sample_clients
from fedjax_diffusion.allocation.search.client_table import client_table
from fedjax_diffusion.allocation.search.multiplier import (
    argmin_bit_width,
    least_error,
    pick,
    search_multiplier,
)
from fedjax_diffusion.allocation.search.time_split import SplitFn
from fedjax_diffusion.types import Array

_RATIO = 2.0
_SMALL = 1e-10
_MAX_PASSES = 30
_MAX_RATIO, _MAX_MULTIPLIER = 1e30, 1e250


class Survey(NamedTuple):
    """What one pass over all clients keeps.

    Attributes:
      shortlist: [3, K], each client's bit widths near the multiplier, loosest first.
      status: int32 [K], each client's own.
      cheapest_error: float64 [K], the error of its cheapest bit width.
      smallest_error: float64 [K], the least error that it can have.
      excess_joules: float64 [K], by how much at most the kept bit widths overstate its part of the
        dual bound.
    """

    shortlist: Shortlist
    status: Array
    cheapest_error: Array
    smallest_error: Array
    excess_joules: Array


class _Window(NamedTuple):
    """Multipliers from ``centre / ratio`` to ``centre * ratio``; float64 [] each."""

    centre: Array
    ratio: Array

    def halve(self, is_above: Array) -> "_Window":
        """Returns the upper or the lower half."""
        ratio = jnp.sqrt(self.ratio)
        return _Window(self.centre * jnp.where(is_above, ratio, 1.0 / ratio), ratio)

    def move(self, is_above: Array) -> "_Window":
        """Returns what lies next to it, above or below, and is twice as wide."""
        ratio = jnp.minimum(self.ratio**2, _MAX_RATIO)
        step = self.ratio * ratio
        centre = self.centre * jnp.where(is_above, step, 1.0 / step)
        return _Window(jnp.clip(centre, 1.0 / _MAX_MULTIPLIER, _MAX_MULTIPLIER), ratio)


def survey_bit_widths(
    problem: AllocationProblem, split: SplitFn, budget: Array
) -> tuple[Survey, Array]:
    """Returns what is kept of the clients' bit widths, and what may be missed, in joules [].

    Args:
      problem: more clients than a chunk.
      split: how each client divides the deadline.
      budget: [], eps.

    Returns:
      The last pass; and by how much the kept bit widths' dual bound may be above that of all bit
      widths, infinite where no multiplier meets the budget.
    """

    def run_pass(window):
        return map_chunks(lambda part: _keep_near(part, split, window), problem)

    def advance(state):
        window, _, _, count, _ = state
        survey = run_pass(window)
        loose, middle, tight = jnp.sum(survey.shortlist.table.error, axis=1)
        is_free = jnp.sum(survey.cheapest_error) <= budget
        is_missed = jnp.sum(survey.smallest_error) > budget
        is_inside = ((loose > budget) | (window.centre == 0)) & (tight <= budget)
        excess = jnp.where(is_inside, jnp.sum(survey.excess_joules), jnp.inf)
        is_exact = excess <= _SMALL * jnp.sum(survey.shortlist.table.energy[0])
        is_above = jnp.where(is_inside, middle, tight) > budget
        start = window._replace(centre=jnp.where(window.centre > 0, window.centre, price))
        window = jax.tree.map(
            lambda half, other: jnp.where(is_inside, half, other),
            start.halve(is_above),
            start.move(is_above),
        )
        window = window._replace(centre=jnp.where(is_free, 0.0, window.centre))
        return window, survey, excess, count + 1, ~(is_exact | is_missed)

    def is_unfinished(state):
        return state[4] & (state[3] < _MAX_PASSES)

    guess, price = _guess(problem, split, budget)
    window = _Window(guess, jnp.full_like(guess, _RATIO))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(run_pass, window))
    start = (window, nothing, jnp.zeros_like(guess), jnp.array(0, jnp.int32), jnp.array(True))
    _, survey, excess, _, _ = jax.lax.while_loop(is_unfinished, advance, start)
    return survey, excess


def _keep_near(problem: AllocationProblem, split: SplitFn, window: _Window) -> Survey:
    table, status = client_table(problem, split)
    shortlist, excess = near_bit_widths(table, window.centre, window.ratio)
    return Survey(
        shortlist=shortlist,
        status=status,
        cheapest_error=pick(table.error, argmin_bit_width(table.energy)),
        smallest_error=pick(table.error, least_error(table)),
        excess_joules=excess,
    )


def _guess(problem: AllocationProblem, split: SplitFn, budget: Array) -> tuple[Array, Array]:
    """Returns the multiplier of a sample, >= 0, and the mean price of its widths, > 0; [] each."""
    sample, share = sample_clients(problem)
    table, _ = client_table(sample, split)
    cheapest, finest = argmin_bit_width(table.energy), least_error(table)
    joules = jnp.sum(pick(table.energy, finest) - pick(table.energy, cheapest))
    error = jnp.sum(pick(table.error, cheapest) - pick(table.error, finest))
    is_priced = (joules > 0) & (error > 0)
    price = jnp.where(is_priced, joules / jnp.where(is_priced, error, 1.0), 1.0)
    return search_multiplier(table, share * budget).multiplier, price
