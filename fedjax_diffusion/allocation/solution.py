"""Allocation together with its verification."""

from typing import NamedTuple

from fedjax_diffusion.allocation.allocation import Allocation
from fedjax_diffusion.allocation.allocator import allocate
from fedjax_diffusion.allocation.method_spec import parse_method
from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.refinement import refine
from fedjax_diffusion.allocation.verification.verification import Verification, verify


class Solution(NamedTuple):
    """An allocation and the result of recomputing it."""

    allocation: Allocation
    verification: Verification


def solve(
    problem: AllocationProblem, method: str = "on_demand", *, is_refined: bool = False
) -> Solution:
    """Allocates, refines on request, and verifies the allocation by the method's properties.

    Args:
      problem: K clients.
      method: as for ``allocate``.
      is_refined: whether to search until the allocation is proven optimal; for "on_demand" only,
        also with ":max_frequency".

    Raises:
      ValueError: there is no such method, or it cannot be refined.
    """
    allocation = allocate(problem, method)
    if is_refined:
        allocation = refine(problem, allocation, method=method)
    facts = parse_method(method).method
    verification = verify(
        problem,
        allocation,
        respects_limits=facts.respects_limits,
        respects_budget=facts.respects_budget,
        shares_bandwidth=bool(allocation.is_band_shared),
    )
    return Solution(allocation, verification)
