"""Refined allocations against HiGHS, an independent solver of integer programs."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from fedjax_diffusion.allocation import Status, allocate, refine, verify
from fedjax_diffusion.allocation.verification.recomputation import Recomputation
from fedjax_diffusion.bits import BIT_WIDTHS
from tests.allocation.padding import pad


def highs(problem, is_active):
    """The least energy of those clients by SciPy's mixed-integer solver, over tables made anew."""
    anew = Recomputation(problem, problem.bandwidth_hz)
    energy, error = anew.bit_width_joules(0.0)[:, is_active], anew.bit_width_errors()[:, is_active]
    num_bit_widths, num_clients = energy.shape
    is_usable = np.isfinite(energy).ravel()
    one_bit_width_each = np.tile(np.eye(num_clients), num_bit_widths)
    share_of_budget = (error / float(problem.error_budget)).ravel()[None]
    # HiGHS stops at an absolute gap of 1e-6 and lets constraints be off by as much.
    scale = 1e6 / np.min(energy, axis=0).sum()
    answer = milp(
        np.where(is_usable, scale * energy.ravel(), 0.0),
        integrality=np.ones(energy.size),
        bounds=Bounds(0, is_usable.astype(float)),
        constraints=[
            LinearConstraint(one_bit_width_each, 1, 1),
            LinearConstraint(share_of_budget, -np.inf, 1),
        ],
        options={"mip_rel_gap": 0.0},
    )
    assert answer.success
    bit_widths = np.argmax(answer.x.reshape(energy.shape), axis=0)
    clients = np.arange(num_clients)
    assert error[bit_widths, clients].sum() <= float(problem.error_budget) * (1 + 1e-12)
    return energy[bit_widths, clients].sum()


def check_refined(problem, allocation, refined, target_gap=1e-9):
    is_active = refined.status == Status.OPTIMAL
    np.testing.assert_array_equal(refined.status, allocation.status)
    np.testing.assert_array_equal(
        refined.requested_bits[~is_active], allocation.requested_bits[~is_active]
    )
    assert refined.total_joules <= allocation.total_joules
    assert refined.dual_bound_joules >= allocation.dual_bound_joules * (1 - 1e-9)
    assert refined.relative_gap <= target_gap
    assert refined.kkt_residual < 1e-10
    assert verify(problem, refined).violations == ()
    for field in dataclasses.fields(allocation):
        old, new = getattr(allocation, field.name), getattr(refined, field.name)
        assert (old.shape, old.dtype) == (new.shape, new.dtype)


@pytest.mark.parametrize(
    "num_clients", [5, 16, *(pytest.param(num, marks=pytest.mark.slow) for num in (8, 12, 48))]
)
def test_equals_an_integer_programming_solver(make_problem, num_clients):
    gains = []
    for seed in range(8):
        problem = make_problem(num_clients, seed, large=seed % 2 == 1, max_bits=16)
        problem = pad(problem, 5 if num_clients <= 5 else 100)
        allocation = allocate(problem)
        refined = refine(problem, allocation)
        check_refined(problem, allocation, refined)
        least = highs(problem, allocation.status == Status.OPTIMAL)
        np.testing.assert_allclose(refined.total_joules, least, rtol=1e-9)
        gains.append(1 - refined.total_joules / allocation.total_joules)
    # A handful of clients is solved exactly already.
    assert num_clients < 12 or max(gains) > 1e-6  # else nothing was tested


def test_clients_alike_but_not_equal(make_problem):
    # The hardest fleets: everybody competes for what little of the budget is left.
    generator = np.random.default_rng(0)
    weight = generator.uniform(0.95, 1.05, 16)
    problem = make_problem(
        16,
        0,
        compute_cycles=4e9 * generator.uniform(0.95, 1.05, 16),
        max_frequency_hz=2e9,
        channel_gain=1e-11 * generator.uniform(0.95, 1.05, 16),
        bandwidth_hz=2e6,
        min_bits=1,
        max_bits=16,
        error_weight=weight,
        error_budget=weight.sum() / 50.0**2,
    )
    problem = pad(problem, 100)
    allocation = allocate(problem)
    check_refined(problem, allocation, refine(problem, allocation))


def test_without_an_allocation_it_starts_from_allocate(make_problem):
    problem = make_problem(5, 2)
    expected, refined = refine(problem, allocate(problem)), refine(problem)
    jax.tree.map(np.testing.assert_array_equal, refined, expected)


def test_the_exact_answer_for_few_clients_is_kept_and_proven(make_problem):
    for seed in range(4):
        problem = make_problem(3, seed)
        allocation = allocate(problem)
        refined = refine(problem, allocation)
        np.testing.assert_allclose(refined.total_joules, allocation.total_joules, rtol=1e-12)
        assert refined.relative_gap <= 1e-9


def test_any_start_within_the_budget_leads_to_the_least_energy(make_problem):
    problem = make_problem(5, 1, min_bits=2, max_bits=12)
    finest = allocate(problem, "largest")
    refined = refine(problem, finest)
    np.testing.assert_allclose(refined.total_joules, refine(problem).total_joules, rtol=1e-9)
    assert refined.total_joules < finest.total_joules


def test_at_full_frequency(make_problem):
    method = "on_demand:max_frequency"
    for seed in range(4):
        problem = make_problem(5, seed, large=True)
        allocation = allocate(problem, method)
        refined = refine(problem, method=method)
        np.testing.assert_allclose(
            refined.compute_seconds, problem.compute_cycles / problem.max_frequency_hz
        )
        assert refined.total_joules <= allocation.total_joules
        assert refined.relative_gap <= 1e-9
        assert verify(problem, refined).is_valid


def test_tables_of_payload_and_error_per_bit_width(make_problem):
    for seed in range(4):
        generator = np.random.default_rng(seed)
        shape = (5, len(BIT_WIDTHS))
        problem = make_problem(
            5,
            seed,
            bit_width_payload_bits=10 ** generator.uniform(4.5, 7.0, shape),
            bit_width_error=10 ** generator.uniform(-5, 1, shape),
            error_budget=0.05,
        )
        allocation = allocate(problem)
        assert np.all(allocation.status == Status.OPTIMAL)
        refined = refine(problem, allocation)
        check_refined(problem, allocation, refined)
        least = highs(problem, np.ones(5, bool))
        np.testing.assert_allclose(refined.total_joules, least, rtol=1e-9)


def test_who_is_left_out_stays_out(make_problem):
    problem = make_problem(5, 3, min_bits=2, max_bits=12)
    problem.channel_gain[0] = 1e-25
    problem.max_bits[4] = 1
    allocation = allocate(problem)
    refined = refine(problem, allocation)
    assert refined.status[[0, 4]].tolist() == [Status.INFEASIBLE_TIME, Status.INFEASIBLE_DEMAND]
    check_refined(problem, allocation, refined)
    least = highs(problem, allocation.status == Status.OPTIMAL)
    np.testing.assert_allclose(refined.total_joules, least, rtol=1e-9)


@pytest.mark.parametrize(
    "fields", [{"error_budget": 1e-12}, {"time_budget_seconds": 0.1}, {"min_bits": 16}]
)
def test_what_is_infeasible_comes_back_as_it_is(make_problem, fields):
    problem = make_problem(5, 0, **{"max_bits": 8} | fields)
    allocation = allocate(problem)
    assert np.all(allocation.status != Status.OPTIMAL)
    assert refine(problem, allocation) is allocation


def test_a_limit_on_the_nodes_says_what_is_left(make_problem):
    # Energy all but proportional to error, so that no bound helps: a subset sum.
    generator = np.random.default_rng(0)
    error = generator.uniform(1.0, 2.0, (5, len(BIT_WIDTHS)))
    problem = make_problem(
        5,
        0,
        compute_cycles=1e9,
        max_frequency_hz=2e9,
        channel_gain=1e-9,
        bandwidth_hz=2e7,
        bit_width_payload_bits=1e5 * (3.0 - error),
        bit_width_error=error,
        error_budget=7.2,
        min_bits=1,
        max_bits=16,
    )
    allocation = allocate(problem)
    cut = refine(problem, allocation, max_nodes=3, target_gap=1e-12)
    full = refine(problem, allocation, max_nodes=20_000, target_gap=1e-12)
    assert cut.relative_gap > 1e-12
    assert cut.dual_bound_joules <= full.total_joules <= cut.total_joules
    for refined in (cut, full):
        assert refined.total_joules <= allocation.total_joules
        assert verify(problem, refined).is_valid


def test_a_wider_target_is_enough(make_problem):
    problem = make_problem(5, 0, large=True)
    allocation = allocate(problem)
    assert refine(problem, allocation, target_gap=0.5).relative_gap <= 0.5
    assert refine(problem, allocation, target_gap=1e-4).relative_gap <= 1e-4


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"method": "relaxed"}, "method = 'relaxed': must be one of on_demand, on_demand:max"),
        ({"method": "on_demand:joint_bandwidth"}, "must be one of on_demand, on_demand:max"),
        ({"target_gap": 0.0}, r"target_gap = 0: must be in \[1e-12, 1\)"),
        ({"target_gap": np.nan}, "target_gap = nan: must be in"),
        ({"target_gap": 1.0}, "target_gap = 1: must be in"),
        ({"max_nodes": 0}, "max_nodes = 0: must be 1 or more"),
    ],
)
def test_arguments_out_of_range_are_named(make_problem, keywords, message):
    with pytest.raises(ValueError, match=message):
        refine(make_problem(5, 0), **keywords)


def test_an_allocation_of_another_problem_is_refused(make_problem):
    problem = make_problem(5, 0, min_bits=2, max_bits=12)
    allocation = allocate(problem)
    refused = {
        r"num_bits\[0\] = .*: must be a bit width within": problem.replace(max_bits=2, min_bits=1),
        "must meet the error budget": problem.replace(error_budget=allocation.error * 0.99),
        "bandwidth_hz must be the problem's": problem.replace(bandwidth_hz=1e7),
        "status must be": problem.replace(min_bits=[2, 2, 16, 2, 2]),
    }
    for message, other in refused.items():
        with pytest.raises(ValueError, match=message):
            refine(other, allocation)
    real = allocation.num_bits - 0.5
    with pytest.raises(ValueError, match=r"num_bits\[\d\] = .*: must be a bit width"):
        refine(problem, allocation.replace(num_bits=real, requested_bits=real))
    with pytest.raises(ValueError, match="status must be"):
        refine(make_problem(100, 0), allocation)
