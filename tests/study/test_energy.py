"""What methods cost over many rounds: each number computed again from single allocations."""

import dataclasses
import functools

import numpy as np
import pytest

from fedjax_diffusion.allocation import AllocationProblem, allocate
from fedjax_diffusion.edge import make_fleet
from fedjax_diffusion.planning.dropping import InfeasibleRoundError
from fedjax_diffusion.planning.error_budget import ErrorBudget
from fedjax_diffusion.planning.participation import draw_cohort
from fedjax_diffusion.study import compare
from tests.each import check_each
from tests.planning.plans import FADING, FLEET, KEY, SIZES, STEADY, WORKLOAD, K, far_away
from tests.study.scenarios import METHODS, scenario_of

ROUNDS, SECONDS, FAR = 4, 3.4, 1
ALL_METHODS = ("on_demand", *METHODS)
THETA = {32: 0.0} | {b: (2.0**b - 1) ** -2 for b in range(1, 17)}


@functools.cache
def rows_of():
    """One client is out of reach, and full precision is late for others."""
    scenario = scenario_of(seconds=SECONDS, devices=far_away(FAR))
    return {row.method: row for row in compare(scenario, ROUNDS)}


def problem_of(round, clients):
    """The round of these clients alone, written out, with the error budget of six bits."""
    weight = SIZES[clients] / SIZES[clients].sum()
    return AllocationProblem(
        compute_cycles=WORKLOAD.compute_cycles[clients],
        effective_capacitance=1e-28,
        max_frequency_hz=FLEET.max_frequency_hz[clients],
        channel_gain=FADING(KEY, round, FLEET).gain[clients],
        bandwidth_hz=1e5,
        max_power_watts=FLEET.max_power_watts[clients],
        noise_density_watts_per_hz=10**-20.4,
        num_parameters=50_000,
        overhead_bits=512.0,
        min_bits=FLEET.min_bits[clients],
        max_bits=FLEET.max_bits[clients],
        error_weight=weight**2,
        error_budget=np.sum(weight**2) / 63**2,
        time_budget_seconds=SECONDS,
    )


@functools.cache
def problems_and_answers():
    """Each round's problem of the clients that can participate, and every method's answer to it."""
    rounds = []
    for round in range(ROUNDS):
        clients = np.setdiff1d(np.arange(K), [FAR])
        late = allocate(problem_of(round, clients)).status > 0
        clients = clients[~late]
        problem = problem_of(round, clients)
        answers = {method: allocate(problem, method) for method in ("on_demand", *METHODS)}
        rounds.append((clients, problem, answers))
    return rounds


def bill_of(method):
    """Returns per round: computing J, transmitting J, bits and lateness of each upload."""
    bills = []
    for _, problem, answers in problems_and_answers():
        answer = answers[method]
        is_late = answer.status > 0
        payload = 50_000 * answer.requested_bits + 512
        ratio = problem.max_power_watts * problem.channel_gain / (10**-20.4 * 1e5)
        rate = 1e5 * np.log2(1 + ratio)
        compute = 1e-28 * problem.compute_cycles * problem.max_frequency_hz**2
        compute = np.where(is_late, compute, answer.compute_joules)
        transmit = np.where(
            is_late, problem.max_power_watts * payload / rate, answer.transmit_joules
        )
        bills.append((compute, transmit, answer.requested_bits, is_late))
    return bills


def test_the_setting_has_what_it_is_to_test():
    rows, rounds = rows_of(), problems_and_answers()
    assert rows["full_precision"].late > 0
    assert rows["on_demand"].late == 0
    assert 0 < rows["full_precision"].on_time_client_rounds < rows["on_demand"].client_rounds
    assert rows["on_demand"].infeasible >= ROUNDS
    assert all(len(clients) >= 4 for clients, _, _ in rounds)


def test_a_row_adds_up_single_allocations():
    check_each(ALL_METHODS, check_sums)


def check_sums(method):
    row, bills = rows_of()[method], bill_of(method)
    joules = [compute + transmit for compute, transmit, _, _ in bills]
    bits = np.concatenate([b for _, _, b, _ in bills])
    uploads = len(bits)
    close = functools.partial(pytest.approx, rel=1e-6)
    assert (row.rounds, row.client_rounds) == (ROUNDS, uploads)
    assert row.infeasible == ROUNDS * K - uploads
    assert row.late == sum(is_late.sum() for *_, is_late in bills)
    assert row.joules_per_round == close(sum(map(np.sum, joules)) / ROUNDS)
    assert row.compute_joules_per_round == close(sum(c.sum() for c, *_ in bills) / ROUNDS)
    assert row.transmit_joules_per_round == close(sum(t.sum() for _, t, *_ in bills) / ROUNDS)
    assert row.joules_per_client == close(np.concatenate(joules).mean())
    spread = np.percentile([j.mean() for j in joules], (10, 90))
    assert (row.joules_per_client_p10, row.joules_per_client_p90) == close(tuple(spread))
    assert row.mean_bits == close(bits.mean())
    assert row.uplink_bytes_per_round == close((50_000 * bits + 512).sum() / 8 / ROUNDS)
    gaps = [answers[method].relative_gap for _, _, answers in problems_and_answers()]
    assert row.relative_gap_max == pytest.approx(max(gaps), rel=1e-6, abs=1e-12)


def test_the_error_is_that_of_all_uploads_late_ones_too():
    check_each(ALL_METHODS, check_error)


def check_error(method):
    shares = []
    for (_, problem, _), (*_, bits, _) in zip(problems_and_answers(), bill_of(method), strict=True):
        error = sum(c * THETA[int(b)] for c, b in zip(problem.error_weight, bits, strict=True))
        shares.append(error / problem.error_budget)
    found = rows_of()[method].error_over_budget
    assert found == pytest.approx(np.mean(shares), rel=1e-6)
    assert (found <= 1 + 1e-9) == (method != "fixed_bits:1" and method != "demand")


def test_savings_name_their_baseline_and_cover_the_same_uploads():
    check_each(ALL_METHODS, check_savings)


def check_savings(method):
    bills = {name: bill_of(name) for name in ("on_demand", *METHODS)}
    joules = {n: np.concatenate([c + t for c, t, *_ in b]) for n, b in bills.items()}
    late = [np.concatenate([is_late for *_, is_late in b]) for b in bills.values()]
    on_time = ~np.any(late, axis=0)
    row = rows_of()[method]
    assert row.on_time_client_rounds == on_time.sum()
    for baseline in ("full_precision", "full_precision:max_frequency"):
        name = "saved_percent_" + baseline.replace(":", "_")
        for field, where in ((name, np.full_like(on_time, True)), (f"on_time_{name}", on_time)):
            ratio = joules[method][where].sum() / joules[baseline][where].sum()
            assert getattr(row, field) == pytest.approx(100 * (1 - ratio), rel=1e-5, abs=1e-9)


def test_the_same_seed_gives_the_same_numbers():
    scenario = scenario_of(seconds=SECONDS, devices=far_away(FAR))
    assert compare(scenario, ROUNDS) == list(rows_of().values())


def test_the_methods_stand_in_their_order_with_the_scenarios_own_first():
    assert [*rows_of()] == ["on_demand", *METHODS]
    # As many as in ``METHODS``, and the same of them first: one program for both orders.
    others = (
        *("fixed_bits:8", "full_precision:max_frequency", "demand"),
        *("fixed_bits:2", "fixed_bits:8:max_frequency", "fixed_bits:1"),
    )
    rows = compare(scenario_of("full_precision", baselines=others), 1)
    assert [row.method for row in rows] == ["full_precision", *others]
    assert rows[0].saved_percent_full_precision == 0.0


def test_a_cohort_is_that_of_the_run():
    num_clients = 9  # cohorts of as many as the other tests have clients
    fleet = make_fleet(
        num_clients,
        seed=0,
        fleet="mixed",
        min_distance_meters=50.0,
        max_distance_meters=300.0,
        bandwidth_hz=1e5,
    )
    cycles = np.full(num_clients, 1e9)
    scenario = scenario_of("largest", cohort_size=K, draw_channel=STEADY, devices=fleet)._replace(
        workload=dataclasses.replace(WORKLOAD, compute_cycles=cycles),
        num_examples=np.arange(1, num_clients + 1),
    )
    rows = compare(scenario, 2)
    largest = [fleet.max_bits[draw_cohort(KEY, round, num_clients, K)] for round in range(2)]
    assert sorted(largest[0]) != sorted(largest[1])
    assert (rows[0].client_rounds, rows[0].infeasible) == (2 * K, 0)
    assert rows[0].mean_bits == pytest.approx(np.mean(largest))


def test_where_nobody_can_ever_take_part_the_rows_are_empty():
    for row in compare(scenario_of(seconds=0.01), 2):
        assert (row.client_rounds, row.infeasible, row.late) == (0, 2 * K, 0)
        assert row.joules_per_round == row.uplink_bytes_per_round == row.relative_gap_max == 0
        for name in ("joules_per_client", "mean_bits", "error_over_budget"):
            assert getattr(row, name) is None
        assert row.saved_percent_full_precision is None


def test_without_a_budget_there_is_no_share_of_it():
    rows = compare(scenario_of(budget=ErrorBudget()), ROUNDS)
    assert {row.error_over_budget for row in rows} == {None}


def test_stop_stops():
    with pytest.raises(InfeasibleRoundError, match=r"clients \[1\]"):
        compare(scenario_of(devices=far_away(FAR), on_infeasible="stop"), 1)
