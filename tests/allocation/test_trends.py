"""What must hold of every answer: how it moves when the problem moves."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjax_diffusion.allocation import Status, allocate

SEEDS = st.integers(0, 10_000)
FACTORS = st.floats(1.01, 5.0)
LONG = {}
"""The long form of each test that draws its problems."""


def drawn(*strategies):
    def decorate(test):
        short, LONG[test.__name__] = (
            settings(max_examples=number, deadline=None, derandomize=True)(given(*strategies)(test))
            for number in (10, 200)
        )
        return short

    return decorate


def is_optimal(allocation):
    return bool(np.all(allocation.status == Status.OPTIMAL))


@drawn(SEEDS, FACTORS)
def test_a_longer_deadline_never_costs_more(make_problem, seed, factor):
    problem = make_problem(3, seed)
    longer = problem.replace(time_budget_seconds=factor * problem.time_budget_seconds)
    a, b = allocate(problem), allocate(longer)
    if is_optimal(a):
        assert is_optimal(b)
        assert b.total_joules <= a.total_joules * (1 + 1e-12)


@drawn(SEEDS, FACTORS)
def test_a_longer_way_never_costs_less(make_problem, seed, factor):
    problem = make_problem(3, seed)
    farther = problem.replace(channel_gain=problem.channel_gain / factor)
    a, b = allocate(problem), allocate(farther)
    if is_optimal(b):
        assert b.total_joules >= a.total_joules * (1 - 1e-12)


@drawn(SEEDS, FACTORS)
def test_a_looser_error_budget_never_raises_the_relaxed_energy_or_the_bound(
    make_problem, seed, factor
):
    problem = make_problem(5, seed)
    looser = problem.replace(error_budget=factor * problem.error_budget)
    if is_optimal(allocate(problem)):
        for method in ("relaxed", "on_demand"):
            a, b = allocate(problem, method), allocate(looser, method)
            assert b.dual_bound_joules <= a.dual_bound_joules * (1 + 1e-9)
            if method == "relaxed":
                assert b.total_joules <= a.total_joules * (1 + 1e-9)


@drawn(SEEDS)
def test_answers_permute_with_the_clients(make_problem, seed):
    problem = make_problem(5, seed)
    order = np.random.default_rng(seed).permutation(5)
    fields = {
        field.name: value[order]
        for field in dataclasses.fields(problem)
        if (value := getattr(problem, field.name)) is not None and value.shape == (5,)
    }
    a, b = allocate(problem), allocate(problem.replace(**fields))
    np.testing.assert_array_equal(b.num_bits, a.num_bits[order])
    np.testing.assert_array_equal(b.status, a.status[order])
    np.testing.assert_allclose(b.transmit_joules, a.transmit_joules[order], rtol=1e-9)


@drawn(SEEDS, st.sampled_from([1e-6, 1e3, 1e9]))
def test_units_of_energy_change_nothing(make_problem, seed, factor):
    problem = make_problem(5, seed)
    scaled = problem.replace(
        effective_capacitance=factor * problem.effective_capacitance,
        max_power_watts=factor * problem.max_power_watts,
        noise_density_watts_per_hz=factor * problem.noise_density_watts_per_hz,
    )
    a, b = allocate(problem), allocate(scaled)
    np.testing.assert_array_equal(b.num_bits, a.num_bits)
    np.testing.assert_allclose(b.total_joules, factor * a.total_joules, rtol=1e-9)
    np.testing.assert_allclose(b.compute_seconds, a.compute_seconds, rtol=1e-9)


@drawn(SEEDS)
def test_the_error_budget_leads_from_demand_to_limit_to_infeasible(make_problem, seed):
    problem = make_problem(5, seed)
    loose = allocate(problem.replace(error_budget=np.inf))
    if not is_optimal(loose):
        return
    np.testing.assert_array_equal(loose.num_bits, problem.min_bits)
    most = allocate(problem, "largest")
    tight = allocate(problem.replace(error_budget=most.error))
    np.testing.assert_array_equal(tight.num_bits, most.num_bits)
    beyond = allocate(problem.replace(error_budget=most.error * (1 - 1e-6)))
    assert np.all(beyond.status == Status.INFEASIBLE_ERROR)


@drawn(SEEDS, st.floats(-6.0, 6.0), st.floats(-3.0, 3.0))
def test_no_answer_is_ever_nan(make_problem, seed, log_budget, log_gain):
    problem = make_problem(5, seed, error_budget=10.0**log_budget)
    problem = problem.replace(channel_gain=problem.channel_gain * 10.0**log_gain)
    for leaf in jax.tree.leaves(allocate(problem)):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_gap_to_full_precision_widens_as_the_deadline_shrinks(make_problem, seed):
    problem = make_problem(3, seed, max_bits=16)
    gaps = []
    for seconds in (80.0, 40.0, 20.0):
        shorter = problem.replace(time_budget_seconds=seconds)
        baseline, ours = allocate(shorter, "full_precision"), allocate(shorter)
        if is_optimal(baseline):
            gaps.append(baseline.total_joules - ours.total_joules)
    assert len(gaps) >= 2
    assert gaps[0] > 0
    assert gaps == sorted(gaps)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_many_problems(make_problem, name):
    LONG[name](make_problem)
