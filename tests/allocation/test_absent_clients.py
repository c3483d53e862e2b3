"""Clients that are not present: passed by in every method, as if the problem were without them.

Masks of many problems in one call are in ``test_gap.py``.
"""

import jax
import numpy as np
import pytest

from fedjax_diffusion.allocation import (
    METHODS,
    Status,
    allocate,
    parse_method,
    refine,
    verify,
)
from tests.allocation.shared_band_oracle import shared_energy
from tests.allocation.tampering import fields_found

NUM_CLIENTS = 100
PRESENT = [0, 1, 3, 4, 6]
"""Too many for every combination; other files have programs of as many clients, and of all."""
IS_PRESENT = np.isin(np.arange(NUM_CLIENTS), PRESENT)
ABSENT = np.flatnonzero(~IS_PRESENT)
IS_ONE_OF_THREE = np.isin(np.arange(NUM_CLIENTS), PRESENT[:3])
"""Present where clients share a band: its programs are the largest, other files have 3 clients."""
SPECS = [
    parse_method(name)
    for name in (
        "on_demand",
        "on_demand:joint_bandwidth",
        "relaxed",
        "demand",
        "fixed_bits:6",
        "full_precision",
        "largest:max_frequency",
    )
]
"""Every method, every way to split the time; bits chosen with the shares of a band."""


@pytest.fixture(params=SPECS, ids=str)
def spec(request):
    return request.param


@pytest.fixture
def whole(make_problem):
    """Returns a problem whose clients could all participate."""
    return make_problem(NUM_CLIENTS, 9, time_budget_seconds=60.0)


@pytest.fixture
def problem(whole):
    return whole.replace(is_present=IS_PRESENT)


def without_absent(problem):
    """Returns the problem of the present clients, the whole band theirs."""
    is_present = problem.is_present
    kept = jax.tree.map(lambda leaf: leaf[is_present] if leaf.ndim else leaf, problem)
    bandwidth_hz = kept.bandwidth_hz.copy()
    bandwidth_hz[0] += problem.bandwidth_hz[~is_present].sum()
    return kept, kept.replace(bandwidth_hz=bandwidth_hz)


def test_every_method_is_among_them():
    assert {spec.method for spec in SPECS} == set(METHODS.values())


def status_if_absent(spec):
    """Returns what an absent client bears: a demand, unless the method ignores demands."""
    respects_demands = spec.method.respects_limits or spec.is_joint
    return Status.INFEASIBLE_DEMAND if respects_demands else Status.INFEASIBLE_TIME


def demand_the_impossible(problem):
    """Returns the problem without a mask: absent clients demand more bits than they handle."""
    return problem.replace(
        is_present=True,
        min_bits=np.where(problem.is_present, problem.min_bits, 32),
        max_bits=np.where(problem.is_present, problem.max_bits, 1),
    )


def assert_fields_equal(actual, expected, rtol, clients=slice(None), besides=()):
    """Holds if two allocations agree, besides some fields; of ``actual``, these clients."""
    for name in set(vars(expected)) - {*besides}:
        value = getattr(expected, name)
        found = getattr(actual, name)
        found = found[clients] if value.ndim else found
        atol = 1e-9 if name in ("relative_gap", "kkt_residual") and rtol else 0.0
        np.testing.assert_allclose(found, value, rtol=rtol, atol=atol, err_msg=name)


def test_allocation_is_that_of_the_problem_without_absent_clients(whole, spec):
    assert (allocate(whole, str(spec)).status == Status.OPTIMAL).all()
    is_present = IS_ONE_OF_THREE if spec.is_joint else IS_PRESENT
    problem = whole.replace(is_present=is_present)
    found = allocate(problem, str(spec))
    alone, with_whole_band = without_absent(problem)
    expected = allocate(with_whole_band if spec.is_joint else alone, str(spec))
    if spec.method.respects_budget:
        assert expected.multiplier > 0
    # Of fewer clients more combinations are searched, so the bound is no lower.
    is_searched = str(spec) == "on_demand"
    searched = ("dual_bound_joules", "relative_gap") if is_searched else ()
    assert_fields_equal(found, expected, 1e-7, is_present, searched)
    if is_searched:
        least = verify(alone, expected).lagrangian_bound_joules
        assert least * (1 - 1e-7) <= found.dual_bound_joules <= expected.dual_bound_joules
    assert (found.status[~is_present] == status_if_absent(spec)).all()
    for name in set(vars(found)) - {"status", "requested_bits"}:
        value = getattr(found, name)
        assert not (value.ndim and value[~is_present].any()), name


def test_given_bits_leave_the_band_of_an_absent_client_to_the_others(make_problem):
    method, is_present = "fixed_bits:6:joint_bandwidth", np.array([True, False, True])
    whole = make_problem(3, 4, time_budget_seconds=60.0)
    problem = whole.replace(is_present=is_present)
    found = allocate(problem, method)
    joules, bands = shared_energy(without_absent(problem)[1], [6, 6])
    np.testing.assert_allclose(found.total_joules, joules, rtol=1e-9)
    np.testing.assert_allclose(found.bandwidth_hz[is_present], bands, rtol=1e-3)
    assert found.num_bits.tolist() == [6, 0, 6]
    assert found.status.tolist() == [0, Status.INFEASIBLE_DEMAND, 0]
    assert_fields_equal(found, allocate(demand_the_impossible(problem), method), 0.0)
    assert not fields_found(problem, found, respects_limits=False, respects_budget=False)
    assert found.explain(problem) == []
    nobody = allocate(whole.replace(is_present=False), method)
    assert nobody.total_joules == nobody.error == nobody.relative_gap == 0


def test_allocation_is_bit_for_bit_that_of_an_impossible_demand(problem, spec):
    found, expected = (allocate(p, str(spec)) for p in (problem, demand_the_impossible(problem)))
    if spec.method.respects_limits or spec.is_joint:
        assert_fields_equal(found, expected, 0.0)
    else:  # They ignore every demand: clients by themselves are all that can be compared.
        for name in ("num_bits", "compute_seconds", "compute_joules", "transmit_joules"):
            expected_values = getattr(expected, name)[IS_PRESENT]
            np.testing.assert_array_equal(getattr(found, name)[IS_PRESENT], expected_values)


def test_nobody_present_gives_nothing(whole, spec):
    found = allocate(whole.replace(is_present=False), str(spec))
    assert (found.status == status_if_absent(spec)).all()
    assert found.total_joules == found.error == found.relative_gap == 0


def test_verification_accepts_absent_clients_that_get_nothing(problem, spec):
    facts = {
        "respects_limits": spec.method.respects_limits,
        "respects_budget": spec.method.respects_budget,
    }
    assert verify(problem, allocate(problem, str(spec)), **facts).violations == ()


def test_verification_finds_an_absent_client_that_gets_something(whole, problem):
    for method in ("on_demand", "fixed_bits:6"):
        facts = parse_method(method).method
        found = fields_found(
            problem,
            allocate(whole, method),
            respects_limits=facts.respects_limits,
            respects_budget=facts.respects_budget,
        )
        assert {f"status[{client}]" for client in ABSENT} <= found
        assert not {f"status[{client}]" for client in np.flatnonzero(IS_PRESENT)} & found


def test_absent_clients_need_no_explanation(problem, spec):
    assert allocate(problem, str(spec)).explain(problem) == []
    late = problem.replace(time_budget_seconds=1e-3)
    for line in allocate(late, str(spec)).explain(late):
        assert "clients 0, 1, 3, 4, 6 cannot" in line


def test_refinement_passes_absent_clients_by(problem):
    found = refine(problem, allocate(problem))
    expected = refine(without_absent(problem)[0])
    assert_fields_equal(found, expected, 1e-7, IS_PRESENT)
    assert not found.num_bits[ABSENT].any()
    assert_fields_equal(found, refine(demand_the_impossible(problem)), 0.0)
