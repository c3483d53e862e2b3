"""On-demand allocator: integer bits by a multiplier search over tables of energies."""

import jax.numpy as jnp

from fedjax_diffusion.allocation.allocation import ERROR_SLACK, Choice
from fedjax_diffusion.allocation.method import Method
from fedjax_diffusion.allocation.methods.on_demand_joint import on_demand_jointly
from fedjax_diffusion.allocation.problem import (
    AllocationProblem,
    bit_width_error,
    bit_width_payload,
)
from fedjax_diffusion.allocation.search.chunks import MAX_CHUNK_CLIENTS
from fedjax_diffusion.allocation.search.client_table import client_table
from fedjax_diffusion.allocation.search.coarse_pass import survey_bit_widths
from fedjax_diffusion.allocation.search.multiplier import Priced, least_error, pick
from fedjax_diffusion.allocation.search.rounding import round_bit_widths
from fedjax_diffusion.allocation.search.time_split import SplitFn
from fedjax_diffusion.allocation.status import Status, meet_budget
from fedjax_diffusion.bits import BIT_WIDTHS, bit_width_index
from fedjax_diffusion.types import Array


def on_demand(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Chooses the bit widths of least energy whose error meets the budget.

    The multiplier search gives the optimum over the bit widths' convex hull and the dual bound;
    its solution is rounded to good bit widths. For up to four clients all combinations are
    compared, which is exact. Beyond ``MAX_CHUNK_CLIENTS`` clients the table is processed in parts.

    Args:
      problem: K clients.
      split: divides each client's deadline at a given payload.

    Guarantees:
      The error is within the budget (to ``ERROR_SLACK``) if the status is OPTIMAL. Without a budget
      every client gets its cheapest bit width, which is the demanded one.
    """
    budget = problem.error_budget * (1.0 + ERROR_SLACK)
    solve = _solve if problem.num_clients <= MAX_CHUNK_CLIENTS else _solve_many
    priced, status, smallest_error = solve(problem, split, budget)
    status = meet_budget(status, smallest_error, budget)
    index = jnp.where(
        status == Status.OPTIMAL, priced.bit_width_index, bit_width_index(problem.min_bits)
    )
    return Choice(
        num_bits=jnp.array(BIT_WIDTHS, jnp.int32)[index],
        payload=bit_width_payload(problem, index),
        error=bit_width_error(problem, index),
        status=status,
        smallest_error=smallest_error,
        multiplier=priced.multiplier,
        dual_bound=priced.dual_bound,
        residual=jnp.zeros(()),
    )


def _solve(
    problem: AllocationProblem, split: SplitFn, budget: Array
) -> tuple[Priced, Array, Array]:
    """Returns the bit widths with their bound, the clients' status and the smallest error."""
    table, status = client_table(problem, split)
    smallest_error = jnp.sum(pick(table.error, least_error(table)))
    return round_bit_widths(table, budget), status, smallest_error


def _solve_many(
    problem: AllocationProblem, split: SplitFn, budget: Array
) -> tuple[Priced, Array, Array]:
    """Returns the result of ``_solve`` for more clients than a chunk."""
    survey, excess_joules = survey_bit_widths(problem, split, budget)
    priced = round_bit_widths(survey.shortlist.table, budget)
    priced = priced._replace(
        bit_width_index=pick(survey.shortlist.bit_width_index, priced.bit_width_index),
        dual_bound=priced.dual_bound - excess_joules,
    )
    return priced, survey.status, jnp.sum(survey.smallest_error)


ON_DEMAND = Method(
    on_demand,
    choose_jointly=on_demand_jointly,
    respects_limits=True,
    respects_budget=True,
    can_refine=True,
    fallback="largest",
)
