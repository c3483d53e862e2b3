"""Several methods in one call: the same allocations as one by one."""

import numpy as np
import pytest

from fedjax_diffusion.allocation import allocate
from fedjax_diffusion.allocation.allocator import allocate_each

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
