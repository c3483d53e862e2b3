import numpy as np
import pytest
from scipy.optimize import minimize

from fedjax_diffusion.resources import LEVELS, Status, allocate


def slsqp_energy(problem):
    """Least energy over real bits and compute times, by SciPy's SLSQP from several starts."""
    num_clients, budget = problem.num_clients, float(problem.time_budget_seconds)
    noise = problem.noise_density_watts_per_hz * problem.bandwidth_hz / problem.channel_gain
    rate = problem.bandwidth_hz * np.log2(1 + problem.max_power_watts / noise)
    shortest = problem.compute_cycles / problem.max_frequency_hz

    def payload(bits):
        return problem.num_parameters * bits + problem.overhead_bits

    def energy(x):
        bits, upload_seconds = x[:num_clients], budget * (1 - x[num_clients:])
        nats = payload(bits) * np.log(2) / (problem.bandwidth_hz * upload_seconds)
        compute = problem.effective_capacitance * problem.compute_cycles**3
        compute = compute / (budget * x[num_clients:]) ** 2
        return np.sum(compute + upload_seconds * noise * np.expm1(nats))

    def log_error_room(x):
        error = np.sum(problem.error_weight / (2 ** x[:num_clients] - 1) ** 2)
        return np.log(problem.error_budget) - np.log(error)

    def time_room(x):
        return 1 - x[num_clients:] - payload(x[:num_clients]) / rate / budget

    bounds = [*zip(problem.min_bits, problem.max_bits, strict=True)]
    bounds += [(share, 0.999) for share in shortest / budget]
    constraints = [{"type": "ineq", "fun": fn} for fn in (log_error_room, time_room)]
    found = [
        minimize(
            energy,
            np.r_[problem.max_bits * 0.9, np.full(num_clients, share)],
            method="SLSQP",
            bounds=bounds,
            constraints=constraints,
            options={"ftol": 1e-13, "maxiter": 500},
        )
        for share in (0.4, 0.6, 0.8)
    ]
    return min((result.fun for result in found if log_error_room(result.x) > -1e-7), default=np.inf)


@pytest.mark.parametrize("seed", range(6))
def test_equals_slsqp(make_problem, seed):
    problem = make_problem(3, seed, min_bits=2, max_bits=16)
    relaxed = allocate(problem, "relaxed")
    assert np.all(relaxed.status == Status.OPTIMAL)
    np.testing.assert_allclose(relaxed.total_joules, slsqp_energy(problem), rtol=1e-6)


@pytest.mark.parametrize(("num_clients", "large"), [(3, False), (3, True), (100, False)])
def test_satisfies_the_kkt_conditions_and_bounds_integer_bits(make_problem, num_clients, large):
    for seed in range(8):
        problem = make_problem(num_clients, seed, large=large, max_bits=16)
        relaxed, integer = allocate(problem, "relaxed"), allocate(problem)
        if np.any(integer.status != Status.OPTIMAL):
            continue
        assert relaxed.kkt_residual <= 1e-8
        assert relaxed.error <= problem.error_budget * (1 + 1e-12)
        assert relaxed.dual_bound_joules <= relaxed.total_joules <= integer.total_joules
        assert relaxed.relative_gap <= 1e-8
        assert np.all(problem.min_bits <= relaxed.num_bits)
        assert np.all(relaxed.num_bits <= problem.max_bits)


def test_interior_bits_have_equal_marginal_costs(make_problem):
    # de/db over c |dtheta/db| by finite differences of whole solutions with the bits held.
    problem = make_problem(3, 0, min_bits=1, max_bits=16, overhead_bits=0.0)
    relaxed = allocate(problem, "relaxed")
    step = 1e-4

    def energy_at(bits):
        payload = np.repeat(bits[:, None] * float(problem.num_parameters), len(LEVELS), axis=1)
        held = problem.replace(level_payload_bits=payload)
        answer = allocate(held, "demand")
        return answer.compute_joules + answer.transmit_joules

    def theta(bits):
        return problem.error_weight / (2**bits - 1) ** 2

    up, down = relaxed.num_bits + step, relaxed.num_bits - step
    prices = (energy_at(up) - energy_at(down)) / (theta(down) - theta(up))
    np.testing.assert_allclose(prices, relaxed.multiplier, rtol=1e-5)


def test_power_limited_bits_equal_slsqp(make_problem):
    # A deadline so short that full power, not the energies, sets the compute time of some clients.
    num_limited = 0
    for seed in range(30):
        problem = make_problem(3, seed, min_bits=1, max_bits=16)
        shortest = np.max(problem.compute_cycles / problem.max_frequency_hz)
        problem = problem.replace(time_budget_seconds=shortest * 1.1)
        relaxed = allocate(problem, "relaxed")
        if np.any(relaxed.status != Status.OPTIMAL):
            continue
        assert relaxed.kkt_residual <= 1e-8
        limits = relaxed.active_limits(problem)
        if np.any(limits["max_power_watts"] & ~limits["max_frequency_hz"]):
            num_limited += 1
            best = slsqp_energy(problem)
            assert relaxed.total_joules <= best * (1 + 1e-9)
            np.testing.assert_allclose(relaxed.total_joules, best, rtol=1e-5)
    assert num_limited >= 2


def test_reaches_zero_error_at_full_precision(make_problem):
    problem = make_problem(3, 0, max_bits=32, error_budget=0.0, time_budget_seconds=40.0)
    relaxed, integer = allocate(problem, "relaxed"), allocate(problem)
    assert np.all(relaxed.num_bits == 32)
    assert np.all(integer.num_bits == 32)
    assert relaxed.error == integer.error == 0


def test_no_budget_leaves_the_demand(make_problem):
    problem = make_problem(3, 0, error_budget=np.inf)
    relaxed = allocate(problem, "relaxed")
    np.testing.assert_array_equal(relaxed.num_bits, problem.min_bits)
    assert relaxed.multiplier == 0


def test_infeasible_is_named(make_problem):
    a = allocate(make_problem(3, 0, max_bits=8, error_budget=1e-12), "relaxed")
    assert np.all(a.status == Status.INFEASIBLE_ERROR)
    assert np.isfinite(float(a.kkt_residual))


def test_tables_per_level_are_refused(make_problem):
    problem = make_problem(3, 0, level_error=np.ones((3, len(LEVELS))))
    with pytest.raises(
        ValueError, match="relaxed: level_payload_bits and level_error must be None"
    ):
        allocate(problem, "relaxed")
