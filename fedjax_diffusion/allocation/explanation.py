"""Causes of infeasibility in words, each with the least change that removes it."""

import bisect
import math

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from fedjax_diffusion.allocation.band.requirements import least_bandwidth_hz, shared_time_budget
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.problem import (
    AllocationProblem,
    bit_width_error,
    bit_width_payload,
)
from fedjax_diffusion.allocation.search.time_split import min_time_budget
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.bits import BIT_WIDTHS, bit_width_index
from fedjax_diffusion.host.tables import format_span
from fedjax_diffusion.types import Array

_MAX_NAMED = 8
_DIGITS = 6


def explain(
    problem: AllocationProblem,
    status: ArrayLike,
    requested_bits: ArrayLike,
    error: ArrayLike,
    is_band_shared: bool,
    respects_budget: bool,
) -> list[str]:
    """Returns one line per cause of infeasibility; empty if all is feasible.

    The least change is rounded up to six digits, so that it suffices. Clients that are not present
    are not explained.

    Args:
      problem: K clients.
      status: int [K], a ``Status`` each.
      requested_bits: [K], the requested bit width of each client.
      error: [], the least total error, if the budget is missed.
      is_band_shared: whether the clients share the sum of the problem's bands.
      respects_budget: whether the bits are chosen within the error budget.
    """
    status, requested_bits = np.asarray(status), np.asarray(requested_bits)
    late, demanding, inexact, crowded = (
        np.flatnonzero((status == kind) & problem.is_present)
        for kind in (
            Status.INFEASIBLE_TIME,
            Status.INFEASIBLE_DEMAND,
            Status.INFEASIBLE_ERROR,
            Status.INFEASIBLE_BANDWIDTH,
        )
    )
    lines = []
    if late.size:
        whole = problem.replace(bandwidth_hz=problem.bandwidth_hz.sum())
        offered = whole if is_band_shared else problem
        line, seconds = _explain_time(offered, requested_bits, late, is_band_shared)
        is_limited = respects_budget and not is_band_shared
        lines.append(line + _explain_budget(problem, seconds) if is_limited else line)
    if demanding.size:
        lines.append(_explain_demand(problem, demanding))
    if inexact.size:
        lines.append(
            f"error: {_name(inexact)} cannot meet error_budget = {float(problem.error_budget):g} "
            "even at the largest bit width that each can deliver; the smallest error_budget that "
            f"works is {_round_up(float(np.asarray(error)))}"
        )
    if crowded.size:
        lines.append(_explain_bandwidth(problem, requested_bits, crowded))
    return lines


def _explain_time(
    problem: AllocationProblem, requested_bits: np.ndarray, late: np.ndarray, is_alone: bool
) -> tuple[str, float]:
    """Returns the line, and the least deadline at which each of the late clients delivers."""
    seconds = float(np.asarray(_min_seconds(problem, requested_bits))[late].max())
    line = (
        f"time: {_name(late)} cannot deliver {_span(requested_bits[late])} bits within "
        f"time_budget_seconds = {float(problem.time_budget_seconds):g} even at full power and full "
        "frequency; the smallest time_budget_seconds that lets "
        f"{'it' if late.size == 1 else 'each of them'} deliver"
        f"{' alone over the whole band' if is_alone else ''} is {_round_up(seconds)}"
    )
    return line, seconds


def _explain_budget(problem: AllocationProblem, seconds: float) -> str:
    """Returns the deadline, from ``seconds`` on, that leaves time for the bits of the error budget.

    The clients are then all on time and together within the budget. Empty if ``seconds`` suffices.
    """
    budget = float(problem.error_budget)
    if not budget < np.inf:
        return ""
    is_asked = problem.is_present & (problem.min_bits <= problem.max_bits)
    arrival, error = (table[is_asked] for table in _tabulate(problem))

    def least_error(deadline: float) -> float:
        return float(np.where(arrival <= deadline, error, np.inf).min(axis=1).sum())

    if least_error(seconds) <= budget:
        return ""
    later = np.unique(arrival[(arrival > seconds) & (arrival < np.inf)])
    found = bisect.bisect_left(later, True, key=lambda deadline: least_error(deadline) <= budget)
    if found == later.size:
        return (
            f"; error_budget = {budget:g} is missed then at any deadline: it must be at least "
            f"{_round_up(least_error(max([seconds, *later[-1:]])))}"
        )
    return f"; the smallest that also meets error_budget = {budget:g} is {_round_up(later[found])}"


def _tabulate(problem: AllocationProblem) -> tuple[np.ndarray, np.ndarray]:
    """Returns least deadline and error of each client at each bit width, [K, B].

    Both are infinite where the client's limits exclude the bit width.
    """
    shape, columns = problem.num_clients, []
    for index, num_bits in enumerate(BIT_WIDTHS):
        is_allowed = (problem.min_bits <= num_bits) & (num_bits <= problem.max_bits)
        seconds = np.asarray(_min_seconds(problem, np.full(shape, num_bits)))
        error = np.asarray(_bit_width_errors(problem, np.full(shape, index)))
        columns.append([np.where(is_allowed, values, np.inf) for values in (seconds, error)])
    arrival, error = (np.stack(column, axis=1) for column in zip(*columns, strict=True))
    return arrival, error


def _explain_demand(problem: AllocationProblem, demanding: np.ndarray) -> str:
    return (
        f"demand: {_name(demanding)}: min_bits {_span(problem.min_bits[demanding])} is above "
        f"max_bits {_span(problem.max_bits[demanding])}; lower min_bits or raise max_bits by "
        f"{_span((problem.min_bits - problem.max_bits)[demanding])}"
    )


def _explain_bandwidth(
    problem: AllocationProblem, requested_bits: np.ndarray, crowded: np.ndarray
) -> str:
    band_hz = least_bandwidth_hz(problem, requested_bits)[crowded].sum()
    is_crowded = np.isin(np.arange(problem.num_clients), crowded)
    seconds = shared_time_budget(problem, requested_bits, is_crowded)
    return (
        f"bandwidth: {_name(crowded)} cannot deliver {_span(requested_bits[crowded])} bits "
        f"together over {problem.bandwidth_hz.sum():g} Hz; the smallest sum of bandwidth_hz that "
        f"lets them deliver is {_round_up(float(band_hz))}, or the smallest time_budget_seconds "
        f"{_round_up(float(seconds))}"
    )


@float64_on_cpu
def _min_seconds(problem: AllocationProblem, num_bits: ArrayLike) -> Array:
    return min_time_budget(
        problem, bit_width_payload(problem, bit_width_index(jnp.asarray(num_bits)))
    )


@float64_on_cpu
def _bit_width_errors(problem: AllocationProblem, index: ArrayLike) -> Array:
    return bit_width_error(problem, jnp.asarray(index))


def _name(clients: np.ndarray) -> str:
    """Returns "client 3" or "clients 0, 4, 5", cut short after eight."""
    named = ", ".join(map(str, clients[:_MAX_NAMED]))
    rest = f" and {clients.size - _MAX_NAMED} more" if clients.size > _MAX_NAMED else ""
    return f"client{'s' if clients.size > 1 else ''} {named}{rest}"


def _span(values: np.ndarray) -> str:
    return format_span(np.min(values), np.max(values), "g")


def _round_up(value: float) -> str:
    """Returns ``value >= 0`` rounded up to six digits."""
    if not np.isfinite(value):
        return "more than a number of 64 bits can hold"
    if value == 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    return f"{math.ceil(float(value) / unit * (1.0 + 1e-12)) * unit:.{_DIGITS + 1}g}"
