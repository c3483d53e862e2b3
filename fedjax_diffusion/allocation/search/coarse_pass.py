"""Selection of the relevant bit widths of very many clients, without the whole table.

A sample of the clients gives the multiplier to within a few percent. The table is then computed in
chunks. Of every client three bit widths are kept: the cheapest at half of that multiplier, at it,
and at twice of it. The pass adds up how much the omitted bit widths could lower the dual bound.
That is zero if a client's neighbouring bit widths have prices a factor of two apart, as with errors
like ``1 / (2^b - 1)^2``: then the search among the kept is the search among all. If the budget is
not met between the outer multipliers, or the omission matters too much, the pass is repeated around
a better multiplier.
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
    """Result of one pass over all clients.

    Attributes:
      shortlist: [3, K], each client's bit widths near the multiplier, loosest first.
      status: int32 [K], the clients' status before any error budget.
      cheapest_error: float64 [K], the error of the client's cheapest bit width.
      smallest_error: float64 [K], its least possible error.
      excess_joules: float64 [K], an upper limit on the amount by which the kept bit widths
        overstate its part of the dual bound.
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
        """Returns the adjacent window above or below, twice as wide in the logarithm."""
        ratio = jnp.minimum(self.ratio**2, _MAX_RATIO)
        step = self.ratio * ratio
        centre = self.centre * jnp.where(is_above, step, 1.0 / step)
        return _Window(jnp.clip(centre, 1.0 / _MAX_MULTIPLIER, _MAX_MULTIPLIER), ratio)


def survey_bit_widths(
    problem: AllocationProblem, split: SplitFn, budget: Array
) -> tuple[Survey, Array]:
    """Returns the kept bit widths, and a limit on the error of their dual bound, in joules [].

    Args:
      problem: more clients than a chunk.
      split: divides each client's deadline.
      budget: [], eps.

    Returns:
      The last pass; and the largest possible excess of the kept bit widths' dual bound over that
      of all bit widths, infinite if no multiplier meets the budget.
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
    """Returns the multiplier >= 0 of a sample and the mean price > 0 of its bit widths; [] each."""
    sample, share = sample_clients(problem)
    table, _ = client_table(sample, split)
    cheapest, finest = argmin_bit_width(table.energy), least_error(table)
    joules = jnp.sum(pick(table.energy, finest) - pick(table.energy, cheapest))
    error = jnp.sum(pick(table.error, cheapest) - pick(table.error, finest))
    is_priced = (joules > 0) & (error > 0)
    price = jnp.where(is_priced, joules / jnp.where(is_priced, error, 1.0), 1.0)
    return search_multiplier(table, share * budget).multiplier, price
