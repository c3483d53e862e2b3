"""The on-demand allocator: integer bits by a multiplier search over tables of energy per level."""

import jax
import jax.numpy as jnp

from fedjax_diffusion.resources.allocation import ERROR_SLACK, Choice
from fedjax_diffusion.resources.multiplier import (
    LevelTable,
    enumerate_levels,
    fill_budget,
    least_error,
    pick,
    search_multiplier,
)
from fedjax_diffusion.resources.problem import (
    LEVELS,
    AllocationProblem,
    level_error,
    level_index,
    level_payload,
)
from fedjax_diffusion.resources.status import Status, client_status, meet_budget
from fedjax_diffusion.resources.time_split import SplitFn, client_cost, is_deliverable
from fedjax_diffusion.types import Array

MAX_ENUMERATED_CLIENTS = 4


def on_demand(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Chooses the levels of least energy whose error meets the budget.

    The multiplier search gives the optimum over the levels' convex hull and the dual bound; what it
    leaves of the budget is then spent greedily. Up to four clients are enumerated instead, which is
    exact.

    Args:
      problem: K clients.
      split: how each client divides the deadline at a given payload.

    Guarantees: the error is within the budget (to ``ERROR_SLACK``) wherever the status is OPTIMAL.
    Without a budget every client gets its cheapest level, which is the demanded one.
    """
    table, status = client_table(problem, split)
    budget = problem.error_budget * (1.0 + ERROR_SLACK)
    smallest_error = jnp.sum(pick(table.error, least_error(table)))
    priced = search_multiplier(table, budget)
    if problem.num_clients <= MAX_ENUMERATED_CLIENTS:
        index = enumerate_levels(table, budget)
    else:
        index = fill_budget(table, priced.level_index, budget, priced.dual_bound)
    status = meet_budget(status, smallest_error, budget)
    index = jnp.where(status == Status.OPTIMAL, index, level_index(problem.min_bits))
    return Choice(
        num_bits=jnp.array(LEVELS, jnp.int32)[index],
        payload=level_payload(problem, index),
        error=level_error(problem, index),
        status=status,
        smallest_error=smallest_error,
        multiplier=priced.multiplier,
        dual_bound=priced.dual_bound,
        residual=jnp.zeros(()),
    )


def client_table(problem: AllocationProblem, split: SplitFn) -> tuple[LevelTable, Array]:
    """Returns the table [B, K] of energies and errors, and each client's own status, int32 [K].

    A client that cannot take part has one level, which costs nothing and has no error.
    """

    def level_row(index):
        levels = jnp.full(problem.num_clients, index)
        payload = level_payload(problem, levels)
        cost = client_cost(problem, payload, split(problem, payload))
        num_bits = jnp.array(LEVELS, jnp.float64)[index]
        is_allowed = (problem.min_bits <= num_bits) & (num_bits <= problem.max_bits)
        is_usable = is_allowed & is_deliverable(problem, payload)
        energy = jnp.where(is_usable, cost.total_joules, jnp.inf)
        return energy, jnp.where(is_usable, level_error(problem, levels), 0.0)

    # One level after another: the search for the splits then needs memory for one row at a time.
    energy, error = jax.lax.map(level_row, jnp.arange(len(LEVELS)))
    is_delivered = jnp.any(jnp.isfinite(energy), axis=0)
    status = client_status(problem.min_bits <= problem.max_bits, is_delivered)
    stand_in = jnp.where(is_delivered, energy[0], 0.0)
    return LevelTable(energy.at[0].set(stand_in), error), status
