"""Baselines: their bits, their error and their gap, for the participating clients and no other."""

import numpy as np
import pytest

from fedjax_diffusion.allocation import allocate
from fedjax_diffusion.planning.baselines import charge_baselines, planned_errors
from tests.allocation.test_each_method import METHODS
from tests.planning.plans import MEASURED, problem_by_hand

EVERYBODY = np.arange(5)


@pytest.fixture(scope="module")
def problem():
    """Client 1 demands more than it handles: it was left out."""
    problem = problem_by_hand(EVERYBODY, MEASURED, 1e-3)
    min_bits, max_bits = problem.min_bits.copy(), problem.max_bits.copy()
    min_bits[1], max_bits[1] = 32, 1
    return problem.replace(min_bits=min_bits, max_bits=max_bits)


def test_the_error_of_a_bit_width_is_that_of_the_bound(problem):
    num_bits = np.array([0, 1, 2, 32, 8])
    c = problem.error_weight
    expected = [0.0, c[1], c[2] / 9, 0.0, c[4] / 255.0**2]
    np.testing.assert_allclose(planned_errors(problem, num_bits), expected, rtol=1e-12)
    assert planned_errors(problem, np.full(5, 16))[3] == pytest.approx(c[3] / 65535.0**2)


def test_bits_error_and_gap_are_those_of_the_participants(problem):
    ours = allocate(problem)
    is_participating = ours.num_bits > 0
    assert is_participating.tolist() == [True, False, True, True, True]
    baselines = charge_baselines(problem, ours, METHODS)
    assert list(baselines) == list(METHODS)
    bit_widths = {
        "full_precision:max_frequency": 32,
        "fixed_bits:3": 3,
        "demand": problem.min_bits,
        "fixed_bits:8": 8,
        "on_demand": ours.num_bits,
    }
    for method, baseline in baselines.items():
        expected = np.where(is_participating, bit_widths[method], 0)
        np.testing.assert_array_equal(baseline.num_bits, expected)
        assert baseline.error == pytest.approx(planned_errors(problem, expected).sum(), rel=1e-12)
        payload = np.where(is_participating, 50_000 * expected + 512, 0)
        np.testing.assert_array_equal(baseline.uplink_bits, payload)
        assert baseline.relative_gap == allocate(problem, method).relative_gap
    assert baselines["full_precision:max_frequency"].relative_gap > 0.1
    assert baselines["fixed_bits:8"].relative_gap < 1e-12


def test_a_method_that_is_not_fixed_answers_the_same_problem(problem):
    """The on-demand method as a baseline sees who was left out, and the same error budget."""
    ours = allocate(problem, "demand")
    assert ours.num_bits[1] == 32
    ours = ours.replace(num_bits=np.where(EVERYBODY == 1, 0, ours.num_bits))
    baseline = charge_baselines(problem, ours, METHODS)["on_demand"]
    alone = allocate(problem, "on_demand")
    np.testing.assert_array_equal(baseline.num_bits, alone.num_bits)
    assert not baseline.is_late.any()
    assert baseline.error <= problem.error_budget * (1 + 1e-9)
