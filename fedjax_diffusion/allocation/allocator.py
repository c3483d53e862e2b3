"""The allocator by name: one registry of methods, a pure function of each, and the host call."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from fedjax_diffusion.allocation.allocation import Allocation, ChooseFn, assemble
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.methods.fixed import demand, fixed_bits, largest
from fedjax_diffusion.allocation.methods.fixed_joint import (
    demand_jointly,
    fixed_bits_jointly,
    largest_jointly,
)
from fedjax_diffusion.allocation.methods.on_demand import on_demand
from fedjax_diffusion.allocation.methods.on_demand_joint import on_demand_jointly
from fedjax_diffusion.allocation.methods.relaxed import relaxed
from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.search.time_split import (
    SplitFn,
    max_frequency_split,
    optimal_split,
)
from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS

MAX_FREQUENCY = "max_frequency"
JOINT_BANDWIDTH = "joint_bandwidth"


class Method(NamedTuple):
    """One registered method.

    Attributes:
      choose: how it chooses.
      arguments: what ``choose`` takes besides the problem and the split.
      takes_bits: the name carries one more argument, ``name:B``.
      choose_jointly: how it chooses where the clients share one band; None if it cannot.
    """

    choose: ChooseFn
    arguments: tuple[int, ...] = ()
    takes_bits: bool = False
    choose_jointly: ChooseFn | None = None


METHODS = {
    "on_demand": Method(on_demand, choose_jointly=on_demand_jointly),
    "relaxed": Method(relaxed),
    "demand": Method(demand, choose_jointly=demand_jointly),
    "fixed_bits": Method(fixed_bits, takes_bits=True, choose_jointly=fixed_bits_jointly),
    "full_precision": Method(
        fixed_bits, arguments=(FULL_PRECISION_BITS,), choose_jointly=fixed_bits_jointly
    ),
    "largest": Method(largest, choose_jointly=largest_jointly),
}


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
    choose, arguments, split = parse_method(method)
    return _allocate(problem, arguments, choose=choose, split=split)


def make_allocator(method: str) -> Callable[[AllocationProblem], Allocation]:
    """Returns the pure function behind ``allocate``, to jit and ``vmap`` under float64.

    Call it inside ``with jax.enable_x64(True)``.

    Raises:
      ValueError: there is no such method.
    """
    choose, arguments, split = parse_method(method)
    return partial(_solve, arguments=arguments, choose=choose, split=split)


def parse_method(method: str) -> tuple[ChooseFn, tuple[int, ...], SplitFn]:
    """Returns the choice, its arguments and the split that a method's name means.

    ``name[:bits][:max_frequency | :joint_bandwidth]``.

    Raises:
      ValueError: the name, the bits or what follows is unknown; says what exists.
    """
    name, *rest = method.split(":")
    known = ", ".join(f"{key}:B" if entry.takes_bits else key for key, entry in METHODS.items())
    expected = (
        f"must be one of {known}, each optionally with :{MAX_FREQUENCY} or :{JOINT_BANDWIDTH}"
    )
    suffix = rest.pop() if rest[-1:] in ([MAX_FREQUENCY], [JOINT_BANDWIDTH]) else ""
    if name not in METHODS or len(rest) != int(METHODS[name].takes_bits):
        raise ValueError(f"method = {method!r}: {expected}")
    if any(bits not in map(str, BIT_WIDTHS) for bits in rest):
        raise ValueError(f"method = {method!r}: {expected}; B is 1..16 or 32")
    entry = METHODS[name]
    arguments = (*entry.arguments, *map(int, rest))
    if suffix != JOINT_BANDWIDTH:
        split = max_frequency_split if suffix == MAX_FREQUENCY else optimal_split
        return entry.choose, arguments, split
    if entry.choose_jointly is None:
        raise ValueError(f"method = {method!r}: {expected}; {name} has no shared band")
    return entry.choose_jointly, arguments, optimal_split


def _solve(
    problem: AllocationProblem, arguments: tuple[int, ...], choose: ChooseFn, split: SplitFn
) -> Allocation:
    return assemble(problem, choose(problem, split, *arguments), split)


# The functions are compiled in; the arguments are traced, so another width compiles nothing.
_allocate = float64_on_cpu(_solve, static_argnames=("choose", "split"))
