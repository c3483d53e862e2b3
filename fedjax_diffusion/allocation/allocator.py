"""The allocator by a method's name: a pure function, and the host call."""

from collections.abc import Callable
from functools import partial

from fedjax_diffusion.allocation.allocation import Allocation, ChooseFn, assemble
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.method_spec import parse_method
from fedjax_diffusion.allocation.problem import AllocationProblem, pass_by_absent
from fedjax_diffusion.allocation.search.time_split import SplitFn


def allocate(problem: AllocationProblem, method: str = "on_demand") -> Allocation:
    """Allocates bits, time and power to the clients of one round, on the CPU in float64.

    One compilation per method and number of clients; every value of the problem may change without
    another. "fixed_bits" of any width and "full_precision" share one.

    Args:
      problem: K clients.
      method: "on_demand" (least energy within the error budget), "relaxed" (the same with real
        bits), "demand" (the bits that each client demands), "fixed_bits:B", "full_precision", or
        "largest" (the most bits that arrive in time). Followed by ":max_frequency", clients compute
        at full frequency instead of splitting the time well. Followed by ":joint_bandwidth", they
        share the sum of the problem's ``bandwidth_hz``, as energy asks, instead of each having its
        own; not for "relaxed".

    Returns:
      The allocation, in host NumPy arrays. Infeasible clients have zeros and a status, never NaN.

    Raises:
      ValueError: there is no such method.

    >>> from fedjax_diffusion.allocation import example_problem
    >>> problem = example_problem()
    >>> allocation = allocate(problem)
    >>> [int(b) for b in allocation.num_bits], bool(allocation.error <= problem.error_budget)
    ([7, 6, 6, 6, 5], True)

    Source: arXiv 2403.04430 (KKT conditions and binary search); the algorithm in detail is this
    project's own.
    """
    spec = parse_method(method)
    return _allocate(problem, spec.arguments, choose=spec.choose, split=spec.split)


def make_allocator(method: str) -> Callable[[AllocationProblem], Allocation]:
    """Returns the pure function behind ``allocate``, to jit and ``vmap`` under float64.

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


# The functions are compiled in; the arguments are traced, so another width compiles nothing.
_allocate = float64_on_cpu(_solve, static_argnames=("choose", "split"))
