"""The calls of a planner to the allocator, which may be answered together with those of others."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fedjax_diffusion.allocation import Allocation, AllocationProblem, RoundFacts, allocate
from fedjax_diffusion.allocation.allocator import allocate_each


class Solver(NamedTuple):
    """Functions that allocate.

    Attributes:
      allocate: ``allocate(problem, method, facts) -> Allocation``.
      allocate_each: ``allocate_each(problem, methods, facts) -> Allocation``, every array with a
        leading [N].
    """

    allocate: Callable[[AllocationProblem, str, RoundFacts | None], Allocation]
    allocate_each: Callable[[AllocationProblem, Sequence[str], RoundFacts | None], Allocation]


DIRECT = Solver(allocate, allocate_each)
"""Each call by itself."""
