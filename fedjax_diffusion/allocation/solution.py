"""An allocation together with the check of it."""

from typing import NamedTuple

from fedjax_diffusion.allocation.allocation import Allocation
from fedjax_diffusion.allocation.allocator import allocate
from fedjax_diffusion.allocation.method_spec import parse_method
from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.refinement import refine
from fedjax_diffusion.allocation.verification.verification import Verification, verify


class Solution(NamedTuple):
    """An answer and what came of recomputing it."""

    allocation: Allocation
    verification: Verification


def solve(
    problem: AllocationProblem, method: str = "on_demand", *, is_refined: bool = False
) -> Solution:
    """Allocates, closes the gap if asked to, and verifies the answer by what the method promises.

    Args:
      problem: K clients.
      method: of ``allocate``.
      is_refined: searches until the allocation is proven to be the best; of "on_demand" alone, also
        with ":max_frequency".

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
