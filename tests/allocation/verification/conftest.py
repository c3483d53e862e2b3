"""A problem of five clients, and an answer with a gap that can be seen."""

import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, allocate, verify


@pytest.fixture(scope="module")
def problem(make_problem):
    """Returns the problem."""
    return make_problem(5, 2)


@pytest.fixture(scope="module")
def allocation(problem):
    """Returns the answer. Few clients are solved exactly, so its bound is lowered by a percent."""
    allocation = allocate(problem)
    assert np.all(allocation.status == Status.OPTIMAL)
    bound = 0.99 * verify(problem, allocation).lagrangian_bound_joules
    return allocation.replace(
        dual_bound_joules=np.float64(bound),
        relative_gap=np.float64(1 - bound / allocation.total_joules),
    )
