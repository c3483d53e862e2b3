"""Allocation of a round without the clients that cannot participate in it."""

import dataclasses
from collections.abc import Callable

import numpy as np

from fedjax_diffusion.allocation import (
    Allocation,
    AllocationProblem,
    RoundFacts,
    Status,
    least_bandwidth_hz,
)
from fedjax_diffusion.allocation.method_spec import parse_method
from fedjax_diffusion.planning.allocator_config import AllocatorConfig
from fedjax_diffusion.planning.baselines import planned_errors
from fedjax_diffusion.planning.solver import Solver

LARGEST = "largest"
"""Method that tells which of the clients that fail together needs the most."""
_FAIL_TOGETHER = (Status.INFEASIBLE_ERROR, Status.INFEASIBLE_BANDWIDTH)


class InfeasibleRoundError(ValueError):
    """A round in which some client cannot participate, under ``on_infeasible = "stop"``."""


def allocate_dropping(
    make_problem: Callable[[np.ndarray], AllocationProblem],
    to_solve: Callable[[AllocationProblem], AllocationProblem],
    method: str,
    facts: RoundFacts,
    config: AllocatorConfig,
    cohort: np.ndarray,
    solver: Solver,
) -> tuple[AllocationProblem, Allocation]:
    """Allocates repeatedly, leaving out clients until all the others can participate."""
    status = np.zeros(len(cohort), np.int32)
    while True:
        is_kept = status == Status.OPTIMAL
        problem = make_problem(is_kept)
        allocation = solver.allocate(to_solve(problem), method, facts)
        found = np.where(is_kept, allocation.status, Status.OPTIMAL)
        if not found.any():
            return problem, dataclasses.replace(allocation, status=status)
        if config.on_infeasible == "stop":
            respects_budget = parse_method(method).method.respects_budget
            lines = "; ".join(allocation.explain(problem, respects_budget))
            raise InfeasibleRoundError(
                f"clients {cohort[found > 0].tolist()}: {lines}; these numbers are positions in "
                f"the cohort {cohort.tolist()}"
            )
        if np.isin(found, _FAIL_TOGETHER).any():
            found = _only_worst(problem, allocation, found, solver)
        status = np.where(is_kept, found, status)


def _only_worst(
    problem: AllocationProblem, allocation: Allocation, status: np.ndarray, solver: Solver
) -> np.ndarray:
    """Leaves out one of the clients that fail together: the one with the largest requirement."""
    fails = np.isin(status, _FAIL_TOGETHER)
    if (status == Status.INFEASIBLE_BANDWIDTH).any():
        asked = least_bandwidth_hz(problem, allocation.requested_bits)
    else:
        largest = solver.allocate(problem, LARGEST, None)
        asked = planned_errors(problem, np.asarray(largest.requested_bits))
    is_other = fails & (np.arange(len(status)) != np.argmax(np.where(fails, asked, -1.0)))
    return np.where(is_other, Status.OPTIMAL, status)
