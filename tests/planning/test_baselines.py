"""Opponents: their bits, their error and their gap, for whoever takes part and nobody else."""

import numpy as np
import pytest

from fedjax_diffusion.allocation import allocate
from fedjax_diffusion.planning.baselines import charge_opponents, planned_errors
from tests.planning.plans import MEASURED, K, problem_by_hand

EVERYBODY = np.arange(K)
METHODS = ("full_precision", "fixed_bits:8:max_frequency", "demand")


@pytest.fixture(scope="module")
def problem():
    """Client 1 demands more than it handles: it was left out."""
    problem = problem_by_hand(EVERYBODY, MEASURED, 1e-3)
    min_bits, max_bits = problem.min_bits.copy(), problem.max_bits.copy()
    min_bits[1], max_bits[1] = 32, 1
    return problem.replace(min_bits=min_bits, max_bits=max_bits)


def test_the_error_of_a_level_is_that_of_the_bound(problem):
    num_bits = np.array([0, 1, 2, 16, 32, 8])
    c = problem.error_weight
    expected = [0.0, c[1], c[2] / 9, c[3] / 65535.0**2, 0.0, c[5] / 255.0**2]
    np.testing.assert_allclose(planned_errors(problem, num_bits), expected, rtol=1e-12)


def test_bits_error_and_gap_are_those_of_the_participants(problem):
    ours = allocate(problem)
    takes_part = ours.num_bits > 0
    assert takes_part.tolist() == [True, False, True, True, True, True]
    opponents = charge_opponents(problem, ours, METHODS)
    assert list(opponents) == list(METHODS)
    levels = {"full_precision": 32, "fixed_bits:8:max_frequency": 8, "demand": problem.min_bits}
    for method, opponent in opponents.items():
        expected = np.where(takes_part, levels[method], 0)
        np.testing.assert_array_equal(opponent.num_bits, expected)
        assert opponent.error == pytest.approx(planned_errors(problem, expected).sum(), rel=1e-12)
        payload = np.where(takes_part, 50_000 * expected + 512, 0)
        np.testing.assert_array_equal(opponent.uplink_bits, payload)
        assert opponent.relative_gap == allocate(problem, method).relative_gap
    assert opponents["fixed_bits:8:max_frequency"].relative_gap > 0.1
    assert opponents["full_precision"].relative_gap < 1e-12


def test_a_scheme_that_is_not_fixed_answers_the_same_problem(problem):
    """The on-demand scheme as an opponent sees who was left out, and the same error budget."""
    ours = allocate(problem, "demand")
    assert ours.num_bits[1] == 32
    ours = ours.replace(num_bits=np.where(EVERYBODY == 1, 0, ours.num_bits))
    opponent = charge_opponents(problem, ours, ["on_demand"])["on_demand"]
    alone = allocate(problem, "on_demand")
    np.testing.assert_array_equal(opponent.num_bits, alone.num_bits)
    assert not opponent.is_late.any()
    assert opponent.error <= problem.error_budget * (1 + 1e-9)
