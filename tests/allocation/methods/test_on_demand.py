"""On-demand bits against brute force: every combination, every split by golden sections."""

import itertools

import jax
import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, allocate
from fedjax_diffusion.bits import BIT_WIDTHS
from tests.allocation.golden import least_values


def brute_costs(problem, payload):
    """Least energies [B, K] of the clients at payloads [B, 1]; infinite if they are late."""
    cycles, kappa = problem.compute_cycles, problem.effective_capacitance
    noise = problem.noise_density_watts_per_hz * problem.bandwidth_hz / problem.channel_gain
    rate = problem.bandwidth_hz * np.log2(1 + problem.max_power_watts / noise)
    budget = float(problem.time_budget_seconds)
    low, high = np.broadcast_arrays(cycles / problem.max_frequency_hz, budget - payload / rate)

    def energy(seconds):
        nats = payload * np.log(2) / (problem.bandwidth_hz * (budget - seconds))
        return kappa * cycles**3 / seconds**2 + (budget - seconds) * noise * np.expm1(nats)

    return np.where(low > high, np.inf, least_values(energy, np.minimum(low, high), high))


def brute_bit_widths(problem):
    """``[(bits, energy, error)]`` of every bit width that a client may use, by client."""
    payload = [
        [8 * -(-int(problem.num_parameters) * bits // 8) + float(problem.overhead_bits)]
        for bits in BIT_WIDTHS
    ]
    clients = [[] for _ in range(problem.num_clients)]
    for bits, energies in zip(BIT_WIDTHS, brute_costs(problem, np.array(payload)), strict=True):
        for k, rows in enumerate(clients):
            if problem.min_bits[k] <= bits <= problem.max_bits[k] and np.isfinite(energies[k]):
                error = 0.0 if bits == 32 else problem.error_weight[k] / (2.0**bits - 1) ** 2
                rows.append((bits, energies[k], error))
    return clients


def brute_force(problem):
    """``(energy, bits)`` of the best combination that meets the error budget, or None."""
    feasible = (
        (sum(row[1] for row in rows), [row[0] for row in rows])
        for rows in itertools.product(*brute_bit_widths(problem))
        if sum(row[2] for row in rows) <= problem.error_budget
    )
    return min(feasible, default=None)


def check_against_brute_force(problem):
    allocation, best = allocate(problem), brute_force(problem)
    if best is None:
        assert np.all(allocation.status != Status.OPTIMAL)
        return False
    assert np.all(allocation.status == Status.OPTIMAL)
    assert allocation.error <= problem.error_budget * (1 + 1e-12)
    np.testing.assert_allclose(allocation.total_joules, best[0], rtol=1e-8)
    assert allocation.dual_bound_joules <= best[0] * (1 + 1e-9)
    return True


@pytest.mark.parametrize("num_clients", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("large", [False, True])
def test_equals_brute_force(make_problem, num_clients, large):
    """One client, of every family of problems, is in ``test_exactness.py``."""
    solved = [
        check_against_brute_force(make_problem(num_clients, seed, large=large))
        for seed in range(12)
    ]
    assert sum(solved) >= 6


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e-2, 1.0, 1e3, np.inf])
def test_equals_brute_force_at_tight_and_loose_budgets(make_problem, scale):
    for seed in range(4):
        problem = make_problem(3, seed, max_bits=[32, 16, 32])
        budget = np.inf if np.isinf(scale) else scale * problem.error_budget
        check_against_brute_force(problem.replace(error_budget=budget))


def test_equals_brute_force_where_the_deadline_forbids_bit_widths(make_problem):
    solved = []
    for seed in range(12):
        problem = make_problem(3, seed, large=True, min_bits=1, max_bits=16)
        noise = problem.noise_density_watts_per_hz * problem.bandwidth_hz / problem.channel_gain
        rate = problem.bandwidth_hz * np.log2(1 + problem.max_power_watts / noise)
        nine_bits = problem.compute_cycles / problem.max_frequency_hz + 9.5 * 35.7e6 / rate
        problem = problem.replace(time_budget_seconds=nine_bits.max())
        solved.append(check_against_brute_force(problem))
        slowest = np.argmax(nine_bits)
        assert [row[0] for row in brute_bit_widths(problem)[slowest]] == list(range(1, 10))
    assert any(solved)


def test_the_greedy_answer_is_near_brute_force(make_problem):
    # Five clients are beyond what is enumerated. The dual bound certifies what is left to gain.
    for seed in range(4):
        problem = make_problem(5, seed, min_bits=[2, 3, 4, 5, 6], max_bits=8)
        best, allocation = brute_force(problem), allocate(problem)
        if best is None:
            continue
        assert best[0] * (1 - 1e-9) <= allocation.total_joules <= best[0] * 1.01
        assert allocation.dual_bound_joules <= best[0] * (1 + 1e-9)
        assert allocation.error <= problem.error_budget * (1 + 1e-12)


def test_certificate_is_tight_for_a_hundred_clients(make_problem):
    gaps = []
    for seed in range(10):
        allocation = allocate(make_problem(100, seed, max_bits=16))
        assert np.all(allocation.status == Status.OPTIMAL)
        assert allocation.kkt_residual < 1e-10
        gaps.append(float(allocation.relative_gap))
    assert np.median(gaps) < 1e-3
    assert max(gaps) < 1e-2


def test_identical_clients_share_the_budget(make_problem):
    # Everything ties: the multiplier alone would move all of them at once.
    problem = make_problem(
        100,
        0,
        compute_cycles=np.full(100, 2e9),
        max_frequency_hz=2e9,
        channel_gain=1e-11,
        bandwidth_hz=2e6,
        min_bits=2,
        max_bits=16,
        error_weight=1.0,
        error_budget=100 * (0.3 / 31**2 + 0.7 / 63**2) * (1 + 1e-9),
    )
    bits = allocate(problem).num_bits
    assert sorted(bits.tolist()) == [5] * 30 + [6] * 70


def test_a_budget_of_fixed_bits_can_be_met_by_fixed_bits(make_problem):
    # The same sum in another order must not be infeasible by one unit in the last place.
    problem = make_problem(100, 0, min_bits=7, max_bits=7)
    errors = problem.error_weight / 127.0**2
    for budget in (errors.sum(), errors[::-1].sum(), sum(errors.tolist())):
        allocation = allocate(problem.replace(error_budget=budget))
        assert np.all(allocation.num_bits == 7)


def test_answers_satisfy_every_limit(make_problem):
    problem = make_problem(100, 3, max_bits=16)
    a = allocate(problem)
    budget = float(problem.time_budget_seconds)
    np.testing.assert_allclose(a.compute_seconds + a.upload_seconds, budget, rtol=1e-12)
    assert np.all(
        a.compute_seconds * problem.max_frequency_hz >= problem.compute_cycles * (1 - 1e-12)
    )
    assert np.all(a.transmit_power_watts <= problem.max_power_watts)
    assert np.all((problem.min_bits <= a.num_bits) & (a.num_bits <= problem.max_bits))
    snr = a.transmit_power_watts * problem.channel_gain
    snr = snr / (problem.noise_density_watts_per_hz * problem.bandwidth_hz)
    sent = a.upload_seconds * problem.bandwidth_hz * np.log2(1 + snr)
    payload = 8 * np.ceil(267_000 * a.num_bits / 8) + 4096
    np.testing.assert_allclose(sent, payload, rtol=1e-10)


def test_active_limits_name_what_holds_a_client(make_problem):
    problem = make_problem(3, 0, min_bits=4, max_bits=[4, 16, 16], error_budget=np.inf)
    # Computing is almost free for client 1 and very dear for client 0; client 2 is out of reach.
    problem.effective_capacitance[:2] = 1e-18, 1e-40
    problem.channel_gain[2] = 1e-25
    limits = allocate(problem).active_limits(problem)
    assert limits["min_bits"].tolist() == [True, True, False]
    assert limits["max_bits"].tolist() == [True, False, False]
    assert limits["max_frequency_hz"].tolist() == [False, True, False]
    assert limits["max_power_watts"].tolist() == [True, False, False]


@pytest.mark.parametrize("num_clients", [3, 5])
def test_infeasible_clients_have_zeros_and_the_others_go_on(make_problem, num_clients):
    problem = make_problem(num_clients, 1, min_bits=4, max_bits=16, error_budget=np.inf)
    problem.channel_gain[0] = 1e-25
    problem.max_bits[1] = 2
    a = allocate(problem)
    expected = [Status.INFEASIBLE_TIME, Status.INFEASIBLE_DEMAND] + [0] * (num_clients - 2)
    assert a.status.tolist() == expected
    for leaf in jax.tree.leaves(a):
        assert np.isfinite(leaf).all()
    for name in ("num_bits", "compute_seconds", "upload_seconds", "transmit_power_watts"):
        assert not np.any(getattr(a, name)[:2])
    assert np.all(a.num_bits[2:] == 4)
    assert np.all(a.requested_bits == 4)


def test_an_error_budget_out_of_reach_is_borne_by_all(make_problem):
    a = allocate(make_problem(5, 0, max_bits=8, error_budget=1e-12))
    assert np.all(a.status == Status.INFEASIBLE_ERROR)
    assert a.total_joules == 0
    assert a.dual_bound_joules == a.relative_gap == a.kkt_residual == 0


def test_values_change_without_compiling(make_problem):
    durations = []

    def count(event, duration, **kwargs):
        del kwargs
        if event == "/jax/core/compile/backend_compile_duration":
            durations.append(duration)

    allocate(make_problem(3, 0))
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        for seed in range(5):
            allocate(make_problem(3, seed, large=seed % 2 == 0))
        repeated = len(durations)
        jax.jit(lambda x: x + repeated)(0)  # so that an empty list says something
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert repeated == 0
    assert len(durations) == 1
