"""The planner: who is left out of a round, and what baselines are charged for the others."""

import dataclasses

import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, allocate, least_bandwidth_hz
from fedjax_diffusion.allocation.round_facts import first_round
from fedjax_diffusion.edge import ChannelState
from fedjax_diffusion.planning.allocator_config import AllocatorConfig
from fedjax_diffusion.planning.dropping import InfeasibleRoundError, allocate_dropping
from fedjax_diffusion.planning.error_budget import ErrorBudget
from fedjax_diffusion.planning.participation import draw_cohort
from fedjax_diffusion.planning.solver import DIRECT
from tests.planning.plans import (
    FLEET,
    KEY,
    MEASURED,
    SIX_BITS,
    SIZES,
    STEADY,
    WORKLOAD,
    K,
    far_away,
    planner_of,
    problem_by_hand,
    statistics_of,
)


def assert_same_allocation(plan, clients, expected):
    """Holds if ``clients`` got what ``expected`` says, and all others nothing."""
    others = np.setdiff1d(np.arange(K), clients)
    assert plan.allocation.num_bits[clients].tolist() == expected.num_bits.tolist()
    for name in ("compute_seconds", "upload_seconds", "compute_joules", "transmit_joules"):
        values = getattr(plan.allocation, name)
        np.testing.assert_allclose(values[clients], getattr(expected, name), rtol=1e-6)
        assert not values[others].any()
    assert not plan.allocation.num_bits[others].any()
    assert not plan.uplink_bits[others].any()


def test_who_is_too_late_is_left_out_and_the_others_share_its_weight():
    plan = planner_of(devices=far_away(1))(KEY, statistics_of(MEASURED))
    kept = np.array([0, 2, 3, 4, 5])
    assert plan.allocation.status.tolist() == [0, Status.INFEASIBLE_TIME, 0, 0, 0, 0]
    weight = SIZES[kept] / SIZES[kept].sum()
    eps = np.dot(weight**2, np.asarray(MEASURED)[kept]) / 63**2
    assert float(plan.problem.error_budget) == pytest.approx(eps, rel=1e-6)
    assert_same_allocation(plan, kept, allocate(problem_by_hand(kept, MEASURED, eps)))


def test_out_of_reach_of_the_budget_the_worst_client_is_left_out():
    wild = (*MEASURED[:3], 1e6, *MEASURED[4:])
    plan = planner_of(budget=ErrorBudget(absolute=1e-4))(KEY, statistics_of(wild))
    kept = np.array([0, 1, 2, 4, 5])
    assert plan.allocation.status.tolist() == [0, 0, 0, Status.INFEASIBLE_ERROR, 0, 0]
    assert float(plan.allocation.error) <= 1e-4
    assert_same_allocation(plan, kept, allocate(problem_by_hand(kept, wild, 1e-4)))


def test_on_a_band_too_small_for_all_the_hungriest_client_is_left_out():
    method, clients = "full_precision:joint_bandwidth", np.arange(3)
    everybody = problem_by_hand(clients, MEASURED, np.inf)
    needed_hz = least_bandwidth_hz(everybody, np.full(3, 32))
    total_hz = needed_hz.sum() - 0.5 * needed_hz.max()
    everybody = everybody.replace(bandwidth_hz=total_hz / 3)
    config = AllocatorConfig(method, 20.0, SIX_BITS, "drop", ())

    def present(is_kept):
        return everybody.replace(is_present=is_kept)

    def as_it_is(problem):
        return problem

    _, allocation = allocate_dropping(
        present, as_it_is, method, first_round(3), config, clients, DIRECT
    )
    left_out = np.flatnonzero(allocation.status == Status.INFEASIBLE_BANDWIDTH)
    assert left_out.tolist() == [np.argmax(needed_hz)]
    assert (allocation.num_bits == np.where(clients == left_out, 0, 32)).all()
    assert allocation.bandwidth_hz.sum() == pytest.approx(total_hz)
    assert not allocation.bandwidth_hz[left_out].any()


def test_late_and_wild_clients_are_left_out_together():
    wild = (*MEASURED[:3], 1e6, *MEASURED[4:])
    devices = far_away(1).replace(min_bits=np.where(np.arange(K) == 5, 32, FLEET.min_bits))
    plan = planner_of(budget=ErrorBudget(absolute=1e-4), devices=devices)(KEY, statistics_of(wild))
    status = np.zeros(K, int)
    status[[1, 3, 5]] = Status.INFEASIBLE_TIME, Status.INFEASIBLE_ERROR, Status.INFEASIBLE_DEMAND
    assert plan.allocation.status.tolist() == status.tolist()
    assert ((plan.allocation.num_bits > 0) == (status == 0)).all()


@pytest.mark.parametrize("method", ["on_demand", "demand"])
def test_with_nobody_feasible_the_plan_is_empty(method):
    def dead_channel(run_key, round, devices):
        return ChannelState(STEADY(run_key, round, devices).gain * 1e-12)

    baselines = ("full_precision", "demand")
    planner = planner_of(method, draw_channel=dead_channel, baselines=baselines)
    plan = planner(KEY, statistics_of(MEASURED))
    assert (plan.allocation.status == Status.INFEASIBLE_TIME).all()
    assert not plan.allocation.num_bits.any()
    assert plan.allocation.total_joules == 0
    assert not plan.uplink_bits.any()
    for baseline in plan.baselines.values():
        assert not any(np.any(values) for values in dataclasses.astuple(baseline))


def test_stop_says_who_and_why():
    planner = planner_of(devices=far_away(1, 4), on_infeasible="stop")
    with pytest.raises(
        InfeasibleRoundError, match=r"clients \[1, 4\]: time: .*seconds.*deliver is"
    ):
        planner(KEY, statistics_of(MEASURED))
    assert planner_of(on_infeasible="stop")(KEY, statistics_of(MEASURED)).allocation.num_bits.all()


def test_stop_names_clients_by_their_id_in_a_cohort():
    far = draw_cohort(KEY, 3, K, 3)[1]
    planner = planner_of(devices=far_away(far), cohort_size=3, on_infeasible="stop")
    with pytest.raises(InfeasibleRoundError, match=rf"clients \[{far}\]"):
        planner(KEY, statistics_of(MEASURED))


def test_baselines_are_charged_for_the_participants_alone():
    """Against a separate solution of the whole cohort, and the closed form of a late client."""
    methods = ("full_precision", "demand")
    planner = planner_of(seconds=3.4, devices=far_away(1), baselines=methods)
    plan = planner(KEY, statistics_of(MEASURED))
    is_participating = plan.allocation.num_bits > 0
    assert is_participating.tolist() == [True, False, True, True, True, True]

    on_time = plan.baselines["demand"]
    everybody = problem_by_hand(np.arange(K), MEASURED, np.inf, seconds=3.4)
    # Tables that change nothing here: one program with the planner's.
    everybody = everybody.replace(bit_width_error=np.ones((K, 17)), overhead_bits=np.full(17, 512))
    expected = allocate(everybody, "demand")
    np.testing.assert_allclose(
        on_time.compute_joules, expected.compute_joules * is_participating, rtol=1e-6
    )
    np.testing.assert_allclose(
        on_time.transmit_joules, expected.transmit_joules * is_participating, rtol=1e-6
    )
    np.testing.assert_array_equal(
        on_time.uplink_bits, (50_000 * FLEET.min_bits + 512) * is_participating
    )
    assert not on_time.is_late.any()

    late = plan.baselines["full_precision"]
    payload = 50_000 * 32 + 512
    ratio = FLEET.max_power_watts * everybody.channel_gain / (10**-20.4 * 1e5)
    upload_seconds = payload / (1e5 * np.log2(1 + ratio))
    fastest = WORKLOAD.compute_cycles / FLEET.max_frequency_hz + upload_seconds
    is_late = is_participating & (fastest > 3.4)
    assert is_late.any()
    np.testing.assert_array_equal(late.is_late, is_late)
    compute = 1e-28 * WORKLOAD.compute_cycles * FLEET.max_frequency_hz**2
    transmit = FLEET.max_power_watts * upload_seconds
    np.testing.assert_allclose(late.compute_joules[is_late], compute[is_late], rtol=1e-9)
    np.testing.assert_allclose(late.transmit_joules[is_late], transmit[is_late], rtol=1e-9)
    np.testing.assert_array_equal(late.uplink_bits, payload * is_participating)
