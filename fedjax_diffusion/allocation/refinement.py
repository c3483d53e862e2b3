"""Refinement of an on-demand allocation on the host, until its gap is closed.

>>> from fedjax_diffusion.allocation import example_problem
>>> problem = example_problem()
>>> allocation = allocate(problem)
>>> refined = refine(problem, allocation)
>>> refined.total_joules <= allocation.total_joules, bool(refined.relative_gap <= 1e-9)
(True, True)
"""

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.allocation.allocation import ERROR_SLACK, Allocation, Choice, assemble
from fedjax_diffusion.allocation.allocator import allocate
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.method_spec import METHODS, MethodSpec, parse_method
from fedjax_diffusion.allocation.problem import (
    AllocationProblem,
    bit_width_error,
    bit_width_payload,
    pass_by_absent,
)
from fedjax_diffusion.allocation.search.branch_and_bound import search_bit_widths
from fedjax_diffusion.allocation.search.client_table import client_table
from fedjax_diffusion.allocation.search.multiplier import BitWidthTable
from fedjax_diffusion.allocation.search.time_split import SplitFn
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.types import Array

_LEAST_GAP = 1e-12


def refine(
    problem: AllocationProblem,
    allocation: Allocation | None = None,
    *,
    method: str = "on_demand",
    target_gap: float = 1e-9,
    max_nodes: int = 100_000,
) -> Allocation:
    """Returns the allocation of proven least energy, by branch and bound over the bit widths.

    ``allocate`` is exact for up to four clients and certifies a gap for more. This function closes
    the gap, in milliseconds for a hundred clients. It is slowest for hundreds of nearly equal
    clients. It runs on the host and cannot be jitted or mapped.

    Args:
      problem: K clients.
      allocation: the start, from ``allocate(problem, method)``; None computes it.
      method: "on_demand", or "on_demand:max_frequency" for computing at full frequency.
      target_gap: the relative gap at which to stop, in [1e-12, 1).
      max_nodes: the most partial decisions kept after each client, 1 or more. It limits memory and
        time; if it is reached, ``relative_gap`` is the gap that may remain.

    Returns:
      An allocation as from ``allocate``. The search proves its ``dual_bound_joules``, which may
      exceed the bound that ``multiplier`` proves. An infeasible one is returned unchanged.

    Raises:
      ValueError: an argument is out of range, or the allocation does not fit the problem.

    Guarantees:
      Energy not above that of the start; error within the budget; ``relative_gap <= target_gap``
      unless ``max_nodes`` was reached.

    Source: the search is that of ``branch_and_bound``; its use here is this project's own.
    """
    if method not in (allowed := _refinable()):
        known = ", ".join(allowed)
        raise ValueError(f"method = {method!r}: must be one of {known}, which can be refined")
    if not _LEAST_GAP <= target_gap < 1:
        raise ValueError(f"target_gap = {target_gap:g}: must be in [{_LEAST_GAP:g}, 1)")
    if max_nodes < 1:
        raise ValueError(f"max_nodes = {max_nodes}: must be 1 or more")
    allocation = allocate(problem, method) if allocation is None else allocation
    if not np.any(np.asarray(allocation.status) == Status.OPTIMAL):
        return allocation
    return _search(problem, allocation, parse_method(method).split, target_gap, max_nodes)


def _refinable() -> list[str]:
    """Returns the texts of the methods that can be refined."""
    names = [name for name, method in METHODS.items() if method.can_refine]
    return [
        str(MethodSpec(name, is_at_max_frequency=full)) for name in names for full in (False, True)
    ]


def _search(
    problem: AllocationProblem,
    allocation: Allocation,
    split: SplitFn,
    target_gap: float,
    max_nodes: int,
) -> Allocation:
    table, own_status = _client_table(problem, split=split)
    is_active = np.asarray(own_status) == Status.OPTIMAL
    energy, error = (np.asarray(rows)[:, is_active] for rows in table)
    budget = float(problem.error_budget) * (1.0 + ERROR_SLACK)
    if not np.array_equal(allocation.status, own_status):
        raise ValueError(f"allocation.status must be {own_status}, as the problem implies")
    if not np.array_equal(allocation.bandwidth_hz[is_active], problem.bandwidth_hz[is_active]):
        raise ValueError("allocation.bandwidth_hz must be the problem's")
    index = _start_bit_widths(allocation, energy, is_active)
    if np.sum(error[index[is_active], np.arange(is_active.sum())]) > budget:
        raise ValueError(f"allocation.num_bits must meet the error budget {problem.error_budget:g}")
    proven = search_bit_widths(
        energy, error, budget, index[is_active], target_gap=target_gap, max_nodes=max_nodes
    )
    index[is_active] = proven.bit_width_index
    return _assemble(
        problem, index, own_status, allocation.multiplier, proven.bound_joules, split=split
    )


def _start_bit_widths(
    allocation: Allocation, energy: np.ndarray, is_active: np.ndarray
) -> np.ndarray:
    """Returns the allocation's bit widths, as indices int [K].

    Raises:
      ValueError: the bit width of an active client is not one that it may use.
    """
    # At most the index of the last bit width, for any number.
    index = np.searchsorted(BIT_WIDTHS[:-1], allocation.requested_bits)
    bit_widths, num_bits = index[is_active], np.asarray(allocation.num_bits)[is_active]
    is_usable = np.isfinite(energy[bit_widths, np.arange(bit_widths.size)])
    is_usable &= np.take(BIT_WIDTHS, bit_widths) == num_bits
    if not is_usable.all():
        first = int(np.argmin(is_usable))
        raise ValueError(
            f"allocation.num_bits[{np.flatnonzero(is_active)[first]}] = {num_bits[first]:g}: must "
            "be a bit width within the client's limits that arrives in time"
        )
    return index


def _choose(
    problem: AllocationProblem,
    bit_width_index: Array | np.ndarray,
    status: Array,
    multiplier: Array,
    bound_joules: Array | float,
    split: SplitFn,
) -> Allocation:
    choice = Choice(
        num_bits=jnp.array(BIT_WIDTHS, jnp.int32)[bit_width_index],
        payload=bit_width_payload(problem, jnp.asarray(bit_width_index)),
        error=bit_width_error(problem, jnp.asarray(bit_width_index)),
        status=status,
        smallest_error=jnp.zeros(()),
        multiplier=multiplier,
        dual_bound=jnp.asarray(bound_joules),
        residual=jnp.zeros(()),
    )
    return assemble(problem, choice, split)


def _tabulate(problem: AllocationProblem, split: SplitFn) -> tuple[BitWidthTable, Array]:
    return client_table(pass_by_absent(problem), split)


_client_table = float64_on_cpu(_tabulate, static_argnames=("split",))
_assemble = float64_on_cpu(_choose, static_argnames=("split",))
