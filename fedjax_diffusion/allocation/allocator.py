"""Allocation by the name of a method: a pure function and the call from the host."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.allocation.allocation import Allocation, ChooseFn, assemble
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.method_spec import MethodSpec, parse_method
from fedjax_diffusion.allocation.problem import AllocationProblem, pass_by_absent
from fedjax_diffusion.allocation.round_facts import RoundFacts, first_round
from fedjax_diffusion.allocation.search.time_split import SplitFn
from fedjax_diffusion.types import Array

_Branch: TypeAlias = tuple[ChooseFn, SplitFn, int, bool]
"""Functions of a method, its number of arguments, and whether it sees the round."""


def allocate(
    problem: AllocationProblem, method: str = "on_demand", facts: RoundFacts | None = None
) -> Allocation:
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
        of each having its own; not for "relaxed". Also a method of ``register_method``.
      facts: of the round, for methods that see it; None: a first round, nothing is measured.

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
    arguments = (*spec.arguments, *_list_facts(problem, [spec], facts))
    return _allocate(problem, arguments, choose=spec.choose, split=spec.split)


def allocate_each(
    problem: AllocationProblem, methods: Sequence[str], facts: RoundFacts | None = None
) -> Allocation:
    """Allocates by several methods in one call of one program; compiles once per list of methods.

    Methods that differ in their fixed bits alone share their part of the program.

    Args:
      problem: K clients.
      methods: N >= 1 methods that give whole bits.
      facts: as in ``allocate``.

    Returns:
      Their allocations, every array with a leading [N].

    Raises:
      ValueError: there is no such method.

    Guarantees:
      Entry n is ``allocate(problem, methods[n])``.
    """
    return allocate_pairs([problem] * len(methods), methods, [facts] * len(methods))


def allocate_pairs(
    problems: Sequence[AllocationProblem],
    methods: Sequence[str],
    facts: Sequence[RoundFacts | None],
    *,
    among: Sequence[str] | None = None,
    at_most: int | None = None,
) -> Allocation:
    """Allocates many problems, each by its own method, in one call of one program.

    Compiles once per list of methods and greatest number, see ``among`` and ``at_most``.

    Args:
      problems: N >= 1, of K clients each.
      methods: N methods that give whole bits.
      facts: N, as in ``allocate``.
      among: all methods of calls that share a program; None: those of this call.
      at_most: greatest N of these calls; None: this N.

    Returns:
      The allocations, every array with a leading [N].

    Raises:
      ValueError: there is no such method.

    Guarantees:
      Entry n is ``allocate(problems[n], methods[n], facts[n])``.
    """
    specs = {method: parse_method(method) for method in dict.fromkeys(among or methods)}
    branches = tuple(dict.fromkeys(_to_branch(spec) for spec in specs.values()))
    numbers = {method: branches.index(_to_branch(spec)) for method, spec in specs.items()}
    num_pairs, num_arguments = len(methods), max(length for *_, length, _ in branches)
    table = np.zeros((at_most or num_pairs, num_arguments), np.int32)
    index = np.zeros(len(table), np.int32)
    for n, method in enumerate(methods):
        index[n], arguments = numbers[method], specs[method].arguments
        table[n, : len(arguments)] = arguments
    stacked = _stack(problems, facts, list(specs.values()), len(table))
    solved = _allocate_pairs(stacked, index, table, num_pairs, branches=branches)
    return jax.tree.map(lambda x: x[:num_pairs], solved)


def _stack(
    problems: Sequence[AllocationProblem],
    facts: Sequence[RoundFacts | None],
    specs: Sequence[MethodSpec],
    at_most: int,
) -> tuple[AllocationProblem, tuple[RoundFacts, ...]]:
    """Returns the problems and what the methods see of their rounds, with a leading [at_most].

    A problem by several methods is read once. The first one is repeated at the end.
    """
    pairs = list(zip(problems, facts, strict=True))
    different = {(id(problem), id(seen)): (problem, seen) for problem, seen in pairs}
    places = {pair: n for n, pair in enumerate(different)}
    which = np.zeros(at_most, int)
    which[: len(pairs)] = [places[id(problem), id(seen)] for problem, seen in pairs]
    listed = [(problem, _list_facts(problem, specs, seen)) for problem, seen in different.values()]
    return jax.tree.map(lambda *leaves: np.stack(leaves)[which], *listed)


def _to_branch(spec: MethodSpec) -> _Branch:
    return spec.choose, spec.split, len(spec.arguments), spec.method.sees_round


def make_allocator(method: str) -> Callable[[AllocationProblem], Allocation]:
    """Returns the pure function of ``allocate``, to jit and ``vmap`` under float64.

    A method that sees the round is given a first one.

    Call it inside ``with jax.enable_x64(True)``.

    Raises:
      ValueError: there is no such method.
    """
    spec = parse_method(method)

    def solve(problem: AllocationProblem) -> Allocation:
        arguments = (*spec.arguments, *_list_facts(problem, [spec], None))
        return _solve(problem, arguments, spec.choose, spec.split)

    return solve


def _list_facts(
    problem: AllocationProblem, specs: Sequence[MethodSpec], facts: RoundFacts | None
) -> tuple[RoundFacts, ...]:
    """Returns the facts of the round if one of the methods sees them, else nothing."""
    if not any(spec.method.sees_round for spec in specs):
        return ()
    return (first_round(problem.num_clients) if facts is None else facts,)


def _solve(
    problem: AllocationProblem, arguments: tuple[Any, ...], choose: ChooseFn, split: SplitFn
) -> Allocation:
    problem = pass_by_absent(problem)
    return assemble(problem, choose(problem, split, *arguments), split)


def _solve_pairs(
    pairs: tuple[AllocationProblem, tuple[RoundFacts, ...]],
    index: Array | np.ndarray,
    arguments: Array | np.ndarray,
    count: Array | int,
    branches: tuple[_Branch, ...],
) -> Allocation:
    """Returns the allocations of the first ``count`` pairs, and zeros."""

    def make_branch(
        choose: ChooseFn, split: SplitFn, length: int, sees_round: bool
    ) -> Callable[..., Allocation]:
        def solve_by(
            problem: AllocationProblem, seen: tuple[RoundFacts, ...], row: Array
        ) -> Allocation:
            own = seen if sees_round else ()
            return _solve(problem, (*row[:length], *own), choose, split)

        return solve_by

    solvers = [make_branch(*branch) for branch in branches]

    # A computation of its own for each branch: so it rounds as the program of ``allocate`` does.
    def solve(n: Array | int) -> Allocation:
        problem, seen = jax.tree.map(lambda x: x[n], pairs)
        return jax.lax.switch(index[n], solvers, problem, seen, arguments[n])

    shapes = jax.eval_shape(solve, 0)
    nothing = jax.tree.map(lambda x: jnp.zeros((len(index), *x.shape), x.dtype), shapes)

    def put(n: Array, found: Allocation) -> Allocation:
        return jax.tree.map(lambda x, new: x.at[n].set(new), found, solve(n))

    return jax.lax.fori_loop(0, count, put, nothing)


# The functions are static; the arguments are traced, so another bit width does not recompile.
_allocate = float64_on_cpu(_solve, static_argnames=("choose", "split"))
_allocate_pairs = float64_on_cpu(_solve_pairs, static_argnames=("branches",))
