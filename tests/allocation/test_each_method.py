"""Several methods in one call: the same allocations as one by one."""

import numpy as np
import pytest

from fedjax_diffusion.allocation import allocate
from fedjax_diffusion.allocation.allocator import allocate_each, allocate_pairs

METHODS = ("full_precision:max_frequency", "fixed_bits:3", "demand", "fixed_bits:8", "on_demand")


@pytest.mark.parametrize("is_present", [True, [True, False, True, True, True]])
def test_each_method_answers_as_it_does_alone(make_problem, is_present):
    problem = make_problem(5, 4, time_budget_seconds=20.0).replace(is_present=is_present)
    together = allocate_each(problem, METHODS)
    for n, method in enumerate(METHODS):
        for name, expected in vars(allocate(problem, method)).items():
            np.testing.assert_array_equal(vars(together)[name][n], expected, f"{method}: {name}")


def test_an_unknown_method_is_named(make_problem):
    with pytest.raises(ValueError, match="method = 'least'"):
        allocate_each(make_problem(5, 4), ["demand", "least"])


def assert_pairs_are_single_calls(make_problem, num_problems):
    """Bits, times and joules equal to the bit, each problem by its own method, with padding."""
    problems = [make_problem(5, seed) for seed in range(num_problems)]
    methods = [METHODS[seed % len(METHODS)] for seed in range(num_problems)]
    for first in range(0, num_problems, 4):
        part = slice(first, first + 4)
        # One program with the calls above, which have all five methods.
        together = allocate_pairs(
            problems[part], methods[part], [None] * 4, among=METHODS, at_most=len(METHODS)
        )
        for n, (problem, method) in enumerate(zip(problems[part], methods[part], strict=True)):
            for name, expected in vars(allocate(problem, method)).items():
                found = vars(together)[name][n]
                np.testing.assert_array_equal(found, expected, f"{first + n}, {method}: {name}")


def test_many_problems_in_one_call_are_answered_as_each_alone(make_problem):
    assert_pairs_are_single_calls(make_problem, 100)


@pytest.mark.slow
def test_ten_thousand_problems_in_one_call_are_answered_as_each_alone(make_problem):
    assert_pairs_are_single_calls(make_problem, 10_000)
