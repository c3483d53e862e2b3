"""Bits and bands together against brute force over the bits and SciPy over bands and times."""

import jax
import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, allocate
from fedjax_diffusion.allocation.search.multiplier import MAX_EXACT_CLIENTS
from tests.allocation.shared_band_oracle import (
    bit_widths_of,
    brute_force,
    error_at,
    fill_up,
    priced_energies,
)

JOINTLY = ":joint_bandwidth"
MANY = 100
"""Clients, too many for every combination; one program serves all tests that have so many."""


def check_against_brute_force(problem):
    allocation, best = allocate(problem, "on_demand" + JOINTLY), brute_force(problem)
    if best is None:
        assert np.all(allocation.status != Status.OPTIMAL)
        return False
    assert np.all(allocation.status == Status.OPTIMAL)
    assert allocation.error <= problem.error_budget * (1 + 1e-12)
    assert allocation.bandwidth_hz.sum() <= problem.bandwidth_hz.sum() * (1 + 1e-12)
    np.testing.assert_allclose(allocation.total_joules, best[0], rtol=1e-9)
    assert allocation.dual_bound_joules <= best[0] * (1 + 1e-9)
    assert allocation.kkt_residual < 1e-9
    return True


@pytest.mark.parametrize("num_clients", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("large", [False, True])
def test_equals_brute_force(make_problem, num_clients, large):
    solved = [
        check_against_brute_force(make_problem(num_clients, seed, large=large)) for seed in range(6)
    ]
    assert sum(solved) >= 4


def test_equals_brute_force_where_the_band_is_scarce(make_problem):
    # Little more band than the demands need at full power and speed.
    solved, num_clients = [], 3
    for seed in range(8):
        problem = make_problem(num_clients, seed, large=True, max_bits=12)
        least = sum(min(bit_widths_of(problem, k).values()) for k in range(num_clients))
        share = [1.05, 1.5, 2.5, 0.99][seed % 4] * least / num_clients
        problem = problem.replace(bandwidth_hz=np.full(num_clients, share))
        problem = problem.replace(error_budget=problem.error_budget * [100.0, 4.0][seed % 2])
        solved.append(check_against_brute_force(problem))
    assert 2 <= sum(solved) < 8


def test_sharing_never_costs_more_than_equal_shares(make_problem):
    for large in (False, True):
        for seed in range(8):
            problem = make_problem(3, seed, large=large)
            check_saving(problem, "on_demand")
            for method in ("demand", "fixed_bits:8", "full_precision"):
                check_saving(problem, method)


def test_sharing_never_costs_more_than_equal_shares_where_no_combination_is_tried(make_problem):
    for seed in range(4):
        check_saving(make_problem(MANY, seed, large=True), "on_demand")


def check_saving(problem, method):
    separate, joint = allocate(problem, method), allocate(problem, method + JOINTLY)
    if np.all(separate.status == Status.OPTIMAL):
        assert np.all(joint.status == Status.OPTIMAL)
        assert joint.total_joules <= separate.total_joules * (1 + 1e-12)


@pytest.mark.parametrize("large", [False, True])
def test_the_gap_is_small_for_a_hundred_clients(make_problem, large):
    gaps, savings = [], []
    for seed in range(5):
        problem = make_problem(MANY, seed, large=large, max_bits=16)
        a = allocate(problem, "on_demand" + JOINTLY)
        assert np.all(a.status == Status.OPTIMAL)
        assert a.kkt_residual < 1e-9
        assert a.error <= problem.error_budget * (1 + 1e-12)
        np.testing.assert_allclose(a.bandwidth_hz.sum(), problem.bandwidth_hz.sum(), rtol=1e-12)
        gaps.append(float(a.relative_gap))
        savings.append(1 - a.total_joules / allocate(problem).total_joules)
    assert np.median(gaps) < 1e-3
    assert max(gaps) < 1e-2
    assert min(savings) > 0


def test_multipliers_prove_the_bound(make_problem):
    # D(lambda, mu) from the two multipliers alone, by the tables of one client at a time.
    problem = make_problem(3, 3, large=True)
    a = allocate(problem, "on_demand" + JOINTLY)
    assert a.multiplier > 0
    assert a.bandwidth_price > 0
    bound = -float(a.multiplier) * float(problem.error_budget)
    bound -= float(a.bandwidth_price) * problem.bandwidth_hz.sum()
    bit_widths = [bit_widths_of(problem, k) for k in range(3)]
    for k, energies in enumerate(priced_energies(problem, bit_widths, float(a.bandwidth_price))):
        bound += min(
            joules + float(a.multiplier) * error_at(problem, k, bits)
            for bits, joules in energies.items()
        )
    np.testing.assert_allclose(a.dual_bound_joules, bound, rtol=1e-7)


def test_no_price_proves_more(make_problem):
    # For one client: the best mixture of two bit widths within the budget, at prices around.
    for seed in (0, 1, 4):
        problem = make_problem(1, seed, large=True)
        a = allocate(fill_up(problem), "on_demand" + JOINTLY)
        np.testing.assert_allclose(a.total_joules, brute_force(problem)[0], rtol=1e-9)
        for factor in (0.99, 0.999, 1.001, 1.01):
            bound = best_mixture(problem, factor * float(a.bandwidth_price))
            assert bound <= a.dual_bound_joules * (1 + 1e-6)


def best_mixture(problem, price):
    total, budget = problem.bandwidth_hz.sum(), float(problem.error_budget)
    (energies,) = priced_energies(problem, [bit_widths_of(problem, 0)], price)
    rows = [(energy, error_at(problem, 0, b)) for b, energy in energies.items()]
    single = [energy for energy, error in rows if error <= budget]
    mixed = [
        (e_fine * (v_coarse - budget) + e_coarse * (budget - v_fine)) / (v_coarse - v_fine)
        for e_fine, v_fine in rows
        for e_coarse, v_coarse in rows
        if v_fine <= budget < v_coarse
    ]
    return min(single + mixed) - price * total


def test_identical_clients_share_evenly_however_many_there_are(make_problem):
    # Three are enumerated, the many are not.
    alike = {
        "compute_cycles": 4e9,
        "max_frequency_hz": 2e9,
        "channel_gain": 1e-12,
        "bandwidth_hz": 2e6,
        "min_bits": 2,
        "max_bits": 16,
        "error_weight": 1.0,
        "time_budget_seconds": 10.0,
    }
    assert 3 <= MAX_EXACT_CLIENTS < MANY

    def energy_per_client(num_clients):
        fields = alike | {"compute_cycles": np.full(num_clients, 4e9)}
        problem = make_problem(num_clients, 0, **fields, error_budget=num_clients / 31.0**2)
        a = allocate(problem, "on_demand" + JOINTLY)
        np.testing.assert_allclose(a.bandwidth_hz, 2e6, rtol=1e-9)
        assert a.num_bits.tolist() == [5] * num_clients
        return a.total_joules / num_clients

    np.testing.assert_allclose(energy_per_client(3), energy_per_client(MANY), rtol=1e-12)


def methods_of(num_clients):
    """On-demand bits of many clients are searched otherwise; given bits are shared in one way.

    The largest bits of many are a search of ``test_bit_widths.py``, then shared as any.
    """
    return ("on_demand", *(("largest", "demand", "fixed_bits:4") if num_clients == 3 else ()))


@pytest.mark.parametrize("num_clients", [3, MANY])
def test_the_answer_permutes_with_the_clients(make_problem, num_clients):
    problem = make_problem(num_clients, 5, large=True)
    order = np.random.default_rng(0).permutation(num_clients)
    shuffled = jax.tree.map(lambda leaf: leaf[order] if np.ndim(leaf) else leaf, problem)
    for method in methods_of(num_clients):
        a = allocate(problem, method + JOINTLY)
        b = allocate(shuffled, method + JOINTLY)
        np.testing.assert_array_equal(a.num_bits[order], b.num_bits)
        np.testing.assert_allclose(a.bandwidth_hz[order], b.bandwidth_hz, rtol=1e-9)


@pytest.mark.parametrize("num_clients", [3, MANY])
def test_only_the_sum_of_the_bands_matters(make_problem, num_clients):
    problem = make_problem(num_clients, 6)
    even = np.full(num_clients, problem.bandwidth_hz.mean())
    a = allocate(problem, "on_demand" + JOINTLY)
    b = allocate(problem.replace(bandwidth_hz=even), "on_demand" + JOINTLY)
    np.testing.assert_array_equal(a.num_bits, b.num_bits)
    np.testing.assert_allclose(a.bandwidth_hz, b.bandwidth_hz, rtol=1e-10)


@pytest.mark.parametrize("num_clients", [3, MANY])
def test_a_client_left_out_leaves_its_band_to_the_others(make_problem, num_clients):
    problem = make_problem(num_clients, 1, min_bits=4, max_bits=16, error_budget=np.inf)
    problem.channel_gain[0] = 1e-25
    problem.max_bits[1] = 2
    for method in methods_of(num_clients):
        a = allocate(problem, method + JOINTLY)
        expected = [Status.INFEASIBLE_TIME, Status.INFEASIBLE_DEMAND] + [0] * (num_clients - 2)
        assert a.status.tolist() == expected
        assert a.bandwidth_hz[:2].tolist() == [0, 0]
        np.testing.assert_allclose(a.bandwidth_hz.sum(), problem.bandwidth_hz.sum(), rtol=1e-12)


@pytest.mark.parametrize("num_clients", [3, MANY])
def test_who_does_not_fit_together_says_so(make_problem, num_clients):
    problem = make_problem(num_clients, 0, large=True, min_bits=4, max_bits=16, error_budget=np.inf)
    needed = [min(bit_widths_of(problem, k).values()) for k in range(num_clients)]
    for factor, expected in ((1 - 1e-6, Status.INFEASIBLE_BANDWIDTH), (1 + 1e-6, Status.OPTIMAL)):
        share = factor * sum(needed) / num_clients
        scarce = problem.replace(bandwidth_hz=np.full(num_clients, share))
        for method in methods_of(num_clients):
            a = allocate(scarce, method + JOINTLY)
            assert np.all(a.status == expected)
            assert np.all(a.requested_bits == 4)
            assert (a.total_joules > 0) == (expected == Status.OPTIMAL)
            for leaf in jax.tree.leaves(a):
                assert np.isfinite(leaf).all()


@pytest.mark.parametrize("num_clients", [3, MANY])
def test_an_error_that_only_the_band_forbids_is_the_bands(make_problem, num_clients):
    problem = make_problem(num_clients, 0, large=True, min_bits=1, max_bits=16)
    needed = [bit_widths_of(problem, k) for k in range(num_clients)]
    share = sum(bit_widths[8] for bit_widths in needed) / num_clients
    scarce = problem.replace(bandwidth_hz=np.full(num_clients, share))
    eight, nine = (problem.error_weight.sum() / (2.0**bits - 1) ** 2 for bits in (8, 9))
    reachable = allocate(scarce.replace(error_budget=eight * (1 + 1e-9)), "on_demand" + JOINTLY)
    assert np.all(reachable.status == Status.OPTIMAL)
    crowded = allocate(scarce.replace(error_budget=nine), "on_demand" + JOINTLY)
    assert np.all(crowded.status == Status.INFEASIBLE_BANDWIDTH)
    hopeless = allocate(scarce.replace(error_budget=1e-14), "on_demand" + JOINTLY)
    assert np.all(hopeless.status == Status.INFEASIBLE_ERROR)
    # The error that is named can be had, over this band.
    within = scarce.replace(error_budget=float(hopeless.error) * (1 + 1e-9))
    assert np.all(allocate(within, "on_demand" + JOINTLY).status == Status.OPTIMAL)


def test_values_change_without_compiling(make_problem):
    durations = []

    def count(event, duration, **kwargs):
        del kwargs
        if event == "/jax/core/compile/backend_compile_duration":
            durations.append(duration)

    allocate(make_problem(3, 0), "on_demand" + JOINTLY)
    allocate(make_problem(3, 0), "fixed_bits:4" + JOINTLY)
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        for seed in range(1, 4):
            problem = make_problem(3, seed, large=seed % 2 == 0)
            allocate(problem, "on_demand" + JOINTLY)
            for method in (f"fixed_bits:{seed}", "full_precision"):
                allocate(problem, method + JOINTLY)
        assert not durations
        # So that an empty list says something.
        jax.jit(lambda x: x + len(durations))(0)
        assert len(durations) == 1
    finally:
        jax.monitoring.unregister_event_duration_listener(count)


def test_methods_without_a_shared_band_are_refused(make_problem):
    for method in ("relaxed", "on_demand:max_frequency", "fixed_bits:8:max_frequency"):
        with pytest.raises(ValueError, match=r"^method = ") as caught:
            allocate(make_problem(3, 0), method + JOINTLY)
        assert len(str(caught.value).splitlines()) == 1
