"""Causes of infeasibility in words, each with the least change that removes it."""

import math

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from fedjax_diffusion.allocation.band.requirements import least_bandwidth_hz, shared_time_budget
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.problem import AllocationProblem, bit_width_payload
from fedjax_diffusion.allocation.search.time_split import min_time_budget
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.bits import bit_width_index
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
        lines.append(_explain_time(offered, requested_bits, late))
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


def _explain_time(problem: AllocationProblem, requested_bits: np.ndarray, late: np.ndarray) -> str:
    seconds = np.asarray(_min_seconds(problem, requested_bits))[late]
    return (
        f"time: {_name(late)} cannot deliver {_span(requested_bits[late])} bits within "
        f"time_budget_seconds = {float(problem.time_budget_seconds):g} even at full power and full "
        "frequency; the smallest time_budget_seconds that works is "
        f"{_round_up(float(seconds.max()))}"
    )


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
        f"works is {_round_up(float(band_hz))}, or the smallest time_budget_seconds "
        f"{_round_up(float(seconds))}"
    )


@float64_on_cpu
def _min_seconds(problem: AllocationProblem, num_bits: ArrayLike) -> Array:
    return min_time_budget(
        problem, bit_width_payload(problem, bit_width_index(jnp.asarray(num_bits)))
    )


def _name(clients: np.ndarray) -> str:
    """Returns "client 3" or "clients 0, 4, 5", cut short after eight."""
    named = ", ".join(map(str, clients[:_MAX_NAMED]))
    rest = f" and {clients.size - _MAX_NAMED} more" if clients.size > _MAX_NAMED else ""
    return f"client{'s' if clients.size > 1 else ''} {named}{rest}"


def _span(values: np.ndarray) -> str:
    return format_span(np.min(values), np.max(values), "g")


def _round_up(value: float) -> str:
    """Returns ``value >= 0`` rounded up to six digits."""
    if value == 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    return f"{math.ceil(float(value) / unit * (1.0 + 1e-12)) * unit:.{_DIGITS + 1}g}"
