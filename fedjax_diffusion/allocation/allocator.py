"""Allocation by the name of a method: a pure function and the call from the host."""

from collections.abc import Callable
from functools import partial

from fedjax_diffusion.allocation.allocation import Allocation, ChooseFn, assemble
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.method_spec import parse_method
from fedjax_diffusion.allocation.problem import AllocationProblem, pass_by_absent
from fedjax_diffusion.allocation.search.time_split import SplitFn


def allocate(problem: AllocationProblem, method: str = "on_demand") -> Allocation:
    """Allocates bits, time and power to the clients of one round, on the CPU in float64.

    Compiles once per method and number of clients; other values of the problem do not recompile.
    "fixed_bits" of any width and "full_precision" share one compilation.

    Args:
      problem: K clients.
      method: "on_demand" (least energy within the error budget), "relaxed" (the same with real
        bits), "demand" (the bits that each client demands), "fixed_bits:B", "full_precision", or
        "largest" (the most bits that arrive in time). With ":max_frequency" appended, clients
        compute at full frequency instead of splitting the time optimally. With ":joint_bandwidth"
        appended, they share the sum of the problem's ``bandwidth_hz`` at the least energy instead
        of each having its own; not for "relaxed".

    Returns:
      The allocation, in host NumPy arrays. Infeasible clients have zeros and a status, never NaN.

    Raises:
      ValueError: there is no such method.

    >>> from fedjax_diffusion.allocation import example_problem
    >>> problem = example_problem()
    >>> allocation = allocate(problem)
    >>> [int(b) for b in allocation.num_bits], bool(allocation.error <= problem.error_budget)
    ([7, 6, 6, 6, 5], True)

    Source: arXiv 2403.04430 (KKT conditions and binary search), with a limit on the error as in
    Bouzinis et al. (arXiv 2203.05878); the details of the algorithm are this project's own.
    """
    spec = parse_method(method)
    return _allocate(problem, spec.arguments, choose=spec.choose, split=spec.split)


def make_allocator(method: str) -> Callable[[AllocationProblem], Allocation]:
    """Returns the pure function of ``allocate``, to jit and ``vmap`` under float64.

    Call it inside ``with jax.enable_x64(True)``.

    Raises:
      ValueError: there is no such method.
    """
    spec = parse_method(method)
    return partial(_solve, arguments=spec.arguments, choose=spec.choose, split=spec.split)


def _solve(
    problem: AllocationProblem, arguments: tuple[int, ...], choose: ChooseFn, split: SplitFn
) -> Allocation:
    problem = pass_by_absent(problem)
    return assemble(problem, choose(problem, split, *arguments), split)


# The functions are static; the arguments are traced, so another bit width does not recompile.
_allocate = float64_on_cpu(_solve, static_argnames=("choose", "split"))
