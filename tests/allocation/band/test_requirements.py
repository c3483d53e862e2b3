import re

import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, allocate
from fedjax_diffusion.allocation.band.requirements import least_bandwidth_hz, shared_time_budget
from fedjax_diffusion.planning.baselines import charge_late
from tests.allocation.shared_band_oracle import least_band, payload_at

JOINTLY = ":joint_bandwidth"


def numbers_of(line):
    return re.findall(
        r"deliver is ([-+.\de]+), or the smallest time_budget_seconds ([-+.\de]+)$", line
    )[0]


def test_least_bandwidth_by_bisection_on_the_rate(make_problem):
    problem = make_problem(3, 0, large=True)
    bits = np.array([4, 0, 16])
    expected = [least_band(problem, k, payload_at(problem, bits[k])) for k in (0, 2)]
    needed = least_bandwidth_hz(problem, bits)
    np.testing.assert_allclose(needed[[0, 2]], expected, rtol=1e-9)
    assert needed[1] == 0
    problem.channel_gain[0] = 1e-25
    assert np.isinf(least_bandwidth_hz(problem, bits)[0])


@pytest.mark.parametrize("method", ["on_demand", "fixed_bits:6"])
def test_the_least_change_of_band_or_deadline_works(make_problem, method):
    for seed in range(4):
        problem = make_problem(3, seed, large=True, min_bits=6, max_bits=16, error_budget=np.inf)
        needed = least_bandwidth_hz(problem, np.full(3, 6)).sum()
        scarce = problem.replace(bandwidth_hz=np.full(3, 0.9 * needed / 3))
        a = allocate(scarce, method + JOINTLY)
        assert np.all(a.status == Status.INFEASIBLE_BANDWIDTH)
        (line,) = a.explain(scarce)
        assert line.startswith("bandwidth: clients 0, 1, 2 cannot deliver 6 bits together over ")
        whole, deadline = map(float, numbers_of(line))
        for factor, is_enough in ((1.0, True), (1 - 1e-5, False)):
            wider = scarce.replace(bandwidth_hz=np.full(3, whole * factor / 3))
            later = scarce.replace(time_budget_seconds=deadline * factor)
            for changed in (wider, later):
                b = allocate(changed, method + JOINTLY)
                assert np.all((b.status == Status.OPTIMAL) == is_enough)


def test_only_who_takes_part_needs_band(make_problem):
    problem = make_problem(3, 0, large=True, time_budget_seconds=20.0)
    everybody, bits = np.ones(3, bool), np.full(3, 8)
    two = np.array([True, True, False])
    assert shared_time_budget(problem, bits, two) < shared_time_budget(problem, bits, everybody)


def test_time_is_explained_over_the_whole_band(make_problem):
    problem = make_problem(3, 0, large=True, min_bits=8, max_bits=16, error_budget=np.inf)
    problem = problem.replace(time_budget_seconds=20.0)
    a = allocate(problem, "demand" + JOINTLY)
    late = np.flatnonzero(a.status == Status.INFEASIBLE_TIME)
    assert late.size
    (line,) = [line for line in a.explain(problem) if line.startswith("time: ")]
    deadline = float(re.findall(r"[-+.\de]+$", line)[0])
    total = problem.bandwidth_hz.sum()
    for k in late:
        rate = least_band(problem.replace(time_budget_seconds=deadline), k, payload_at(problem, 8))
        assert rate <= total * (1 + 1e-9)
    shorter = problem.replace(time_budget_seconds=deadline * (1 - 1e-5))
    assert np.any(allocate(shorter, "demand" + JOINTLY).status == Status.INFEASIBLE_TIME)


def test_a_crowded_baseline_is_charged_on_its_own_band(make_problem):
    problem = make_problem(3, 0, large=True)
    needed = least_bandwidth_hz(problem, np.full(3, 6)).sum()
    scarce = problem.replace(bandwidth_hz=np.full(3, 0.9 * needed / 3))
    a = allocate(scarce, "fixed_bits:6" + JOINTLY)
    compute_joules, transmit_joules, is_late = charge_late(scarce, a)
    assert is_late.all()
    noise = scarce.noise_density_watts_per_hz * scarce.bandwidth_hz / scarce.channel_gain
    rate = scarce.bandwidth_hz * np.log2(1 + scarce.max_power_watts / noise)
    expected = scarce.max_power_watts * payload_at(scarce, 6) / rate
    np.testing.assert_allclose(transmit_joules, expected)
    assert np.all(compute_joules > 0)
