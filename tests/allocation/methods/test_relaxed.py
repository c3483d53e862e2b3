import jax
import numpy as np
import pytest

from fedjax_diffusion.allocation import AllocationProblem, Status, allocate
from fedjax_diffusion.allocation.allocation import assemble
from fedjax_diffusion.allocation.methods import relaxed as relaxed_module
from fedjax_diffusion.allocation.methods.relaxed import relaxed
from fedjax_diffusion.allocation.search.time_split import optimal_split
from fedjax_diffusion.bits import BIT_WIDTHS

NUM_INSTANCES, NUM_CLIENTS = 300, 5
USUAL = {  # name: (usual value, is per client)
    "compute_cycles": (3e9, True),
    "effective_capacitance": (1e-28, True),
    "max_frequency_hz": (2e9, True),
    "channel_gain": (1e-10, True),
    "bandwidth_hz": (5e6, True),
    "max_power_watts": (0.2, True),
    "noise_density_watts_per_hz": (4e-21, False),
    "num_parameters": (267_000, False),
    "overhead_bits": (4096.0, False),
    "error_weight": (1.0, True),
    "time_budget_seconds": (12.0, False),
}


def wide_problem(seed):
    """Every field log-uniform over ten orders of magnitude; some weights 0, any budget at all."""
    generator = np.random.default_rng(seed)
    fields = {
        name: usual * 10.0 ** generator.uniform(-5, 5, NUM_CLIENTS if is_per_client else None)
        for name, (usual, is_per_client) in USUAL.items()
    }
    fields["num_parameters"] = np.ceil(fields["num_parameters"])
    fields["error_weight"] *= generator.uniform(size=NUM_CLIENTS) > 0.1
    near = fields["error_weight"].sum() / (2.0 ** generator.uniform(1, 20) - 1) ** 2
    budgets = near, 10.0 ** generator.uniform(-300, 300), 0.0, np.inf
    return AllocationProblem(
        **fields,
        min_bits=generator.choice([1, 2, 4, 6], NUM_CLIENTS),
        max_bits=generator.choice([4, 8, 12, 16, 32], NUM_CLIENTS),
        error_budget=generator.choice(budgets, p=[0.7, 0.2, 0.05, 0.05]),
    )


def stack(problems):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *problems)


def own_status(problem):
    """A client's status before any budget, and the error that no bits can avoid, from scratch."""
    noise = problem.noise_density_watts_per_hz * problem.bandwidth_hz / problem.channel_gain
    rate = problem.bandwidth_hz * np.log1p(problem.max_power_watts / noise) / np.log(2)
    room = problem.time_budget_seconds - problem.compute_cycles / problem.max_frequency_hz
    most = (room * rate - problem.overhead_bits) / problem.num_parameters
    status = np.where(most < problem.min_bits, Status.INFEASIBLE_TIME, Status.OPTIMAL)
    status = np.where(problem.min_bits > problem.max_bits, Status.INFEASIBLE_DEMAND, status)
    bits = np.maximum(np.minimum(most, problem.max_bits), 1.0)
    floor = np.where(problem.max_bits == 32, (2.0**32 - 1) ** -2, 0.0)
    error = problem.error_weight * ((2.0**bits - 1) ** -2 - floor)
    return status, np.sum(error[status == Status.OPTIMAL])


@jax.jit
@jax.vmap
def solve(problem):
    """The allocation, and the residual of the bits and of the budget alone."""
    choice = relaxed(problem, optimal_split)
    return assemble(problem, choice, optimal_split), choice.residual


def total_joules(allocations):
    return np.sum(allocations.compute_joules + allocations.transmit_joules, axis=1)


def test_ten_orders_of_magnitude_in_every_field(float64):
    problems = [wide_problem(seed) for seed in range(NUM_INSTANCES)]
    allocation, residual = jax.tree.map(np.asarray, solve(stack(problems)))
    for leaf in jax.tree.leaves(allocation):
        assert np.all(np.isfinite(leaf))
    joules = total_joules(allocation)
    num_feasible = 0
    for i, problem in enumerate(problems):
        status, least_error = own_status(problem)
        if np.all(status != Status.OPTIMAL) or least_error <= problem.error_budget * (1 + 1e-12):
            np.testing.assert_array_equal(allocation.status[i], status)
        else:
            assert not np.any(allocation.status[i] == Status.OPTIMAL)
        if not np.any(allocation.status[i] == Status.OPTIMAL):
            assert joules[i] == allocation.dual_bound_joules[i] == 0
            continue
        num_feasible += 1
        assert residual[i] <= 1e-10
        assert allocation.kkt_residual[i] <= 1e-8
        assert allocation.relative_gap[i] <= 1e-10
        assert allocation.error[i] <= problem.error_budget * (1 + 1e-12)
        integer = allocate(problem)
        if np.any(integer.status == Status.OPTIMAL):
            assert joules[i] <= integer.total_joules * (1 + 1e-9)
    assert num_feasible >= 0.3 * NUM_INSTANCES


def test_monotone_in_the_deadline_and_in_the_budget(float64, make_problem):
    factors = np.geomspace(0.2, 30.0, NUM_INSTANCES // 4)
    usual = [make_problem(NUM_CLIENTS, seed, min_bits=1) for seed in range(4)]
    for name in ("time_budget_seconds", "error_budget"):
        grown = [p.replace(**{name: f * getattr(p, name)}) for p in usual for f in factors]
        answers, _ = jax.tree.map(np.asarray, solve(stack(grown)))
        statuses = answers.status.reshape(len(usual), len(factors), NUM_CLIENTS)
        is_optimal = np.all(statuses == Status.OPTIMAL, axis=2)
        assert np.all(np.sum(is_optimal, axis=1) >= len(factors) // 2)
        assert np.all(is_optimal[:, 1:] >= is_optimal[:, :-1])
        for falling in (total_joules(answers), answers.dual_bound_joules):
            falling = falling.reshape(is_optimal.shape)
            has_risen = falling[:, 1:] > falling[:, :-1] * (1 + 1e-12)
            assert not np.any(has_risen & is_optimal[:, :-1])


@pytest.mark.parametrize(("num_clients", "large"), [(5, False), (5, True), (100, False)])
def test_satisfies_the_kkt_conditions_and_bounds_integer_bits(make_problem, num_clients, large):
    for seed in range(8):
        problem = make_problem(num_clients, seed, large=large, max_bits=16)
        relaxed, integer = allocate(problem, "relaxed"), allocate(problem)
        if np.any(integer.status != Status.OPTIMAL):
            continue
        assert relaxed.kkt_residual <= 1e-10
        assert relaxed.error <= problem.error_budget * (1 + 1e-12)
        assert relaxed.dual_bound_joules <= relaxed.total_joules <= integer.total_joules
        assert relaxed.relative_gap <= 1e-12
        assert np.all(problem.min_bits <= relaxed.num_bits)
        assert np.all(relaxed.num_bits <= problem.max_bits)


def test_interior_bits_have_equal_marginal_costs(make_problem):
    # de/db over c |dtheta/db| by finite differences of whole solutions with the bits held.
    problem = make_problem(5, 0, min_bits=1, max_bits=16, overhead_bits=0.0)
    relaxed = allocate(problem, "relaxed")
    step = 1e-4

    def energy_at(bits):
        payload = np.repeat(bits[:, None] * float(problem.num_parameters), len(BIT_WIDTHS), axis=1)
        held = problem.replace(bit_width_payload_bits=payload)
        answer = allocate(held, "demand")
        return answer.compute_joules + answer.transmit_joules

    def theta(bits):
        return problem.error_weight / (2**bits - 1) ** 2

    up, down = relaxed.num_bits + step, relaxed.num_bits - step
    prices = (energy_at(up) - energy_at(down)) / (theta(down) - theta(up))
    np.testing.assert_allclose(prices, relaxed.multiplier, rtol=1e-5)


@pytest.mark.parametrize("method", ["relaxed", "relaxed:max_frequency"])
def test_the_multiplier_is_what_a_unit_of_error_is_worth(make_problem, method):
    problem = make_problem(5, 2)
    step = 1e-4 * problem.error_budget
    tighter, looser = (
        allocate(problem.replace(error_budget=problem.error_budget + shift), method).total_joules
        for shift in (-step, step)
    )
    expected = allocate(problem, method).multiplier
    np.testing.assert_allclose((tighter - looser) / (2 * step), expected, rtol=1e-6)


def test_the_bound_holds_wherever_the_search_ends(float64, make_problem, monkeypatch):
    problem = make_problem(5, 0)
    least = allocate(problem, "relaxed").total_joules
    search = relaxed_module._search

    def bound(price_shift, bits_shift):
        def end_elsewhere(clients, smallest_error):
            found = search(clients, smallest_error)
            num_bits = clients.limits.clip(found.num_bits + bits_shift)
            return found._replace(num_bits=num_bits, log_price=found.log_price + price_shift)

        monkeypatch.setattr(relaxed_module, "_search", end_elsewhere)
        return relaxed(problem, optimal_split).dual_bound

    shifts = np.array([-3.0, -0.1, -1e-3, 0.0, 1e-3, 0.1, 3.0])
    bounds = np.asarray(jax.jit(jax.vmap(bound))(*map(np.ravel, np.meshgrid(shifts, shifts))))
    assert np.all(bounds <= least * (1 + 1e-12))
    np.testing.assert_allclose(bounds.max(), least, rtol=1e-12)
    assert np.sum(bounds > 0.99 * least) >= 9


def test_reaches_zero_error_at_full_precision(make_problem):
    problem = make_problem(5, 0, max_bits=32, error_budget=0.0, time_budget_seconds=40.0)
    for budget in (0.0, 1e-300, 1e-40):
        held = problem.replace(error_budget=budget)
        relaxed, integer = allocate(held, "relaxed"), allocate(held)
        assert np.all(relaxed.num_bits == 32)
        assert np.all(integer.num_bits == 32)
        assert relaxed.error == integer.error == 0
        assert relaxed.kkt_residual <= 1e-10


def test_no_budget_leaves_the_demand(make_problem):
    problem = make_problem(5, 0, error_budget=np.inf)
    relaxed = allocate(problem, "relaxed")
    np.testing.assert_array_equal(relaxed.num_bits, problem.min_bits)
    assert relaxed.multiplier == 0


def test_the_least_budget_that_works_takes_the_largest_bit_width_of_all(make_problem):
    problem = make_problem(5, 0, max_bits=[8, 10, 12, 8, 10])
    errors = problem.error_weight / (2.0**problem.max_bits - 1) ** 2
    for budget in (errors.sum(), errors[::-1].sum(), errors.sum() * (1 - 1e-13)):
        relaxed = allocate(problem.replace(error_budget=budget), "relaxed")
        np.testing.assert_array_equal(relaxed.num_bits, problem.max_bits)
        assert relaxed.kkt_residual <= 1e-10
        assert relaxed.relative_gap <= 1e-12
        # The least price that holds them there, not just any above it.
        nearby = allocate(problem.replace(error_budget=budget * (1 + 1e-8)), "relaxed")
        np.testing.assert_allclose(relaxed.multiplier, nearby.multiplier, rtol=1e-4)
    beyond = allocate(problem.replace(error_budget=errors.sum() * (1 - 1e-9)), "relaxed")
    assert np.all(beyond.status == Status.INFEASIBLE_ERROR)


def test_clients_whose_error_does_not_count_send_what_they_demand(make_problem):
    problem = make_problem(5, 0, max_bits=16)
    problem.error_weight[1] = 0.0
    relaxed = allocate(problem, "relaxed")
    assert relaxed.num_bits[1] == problem.min_bits[1]
    assert relaxed.multiplier > 0
    least = np.sum(problem.error_weight / (2.0**problem.max_bits - 1) ** 2)
    tight = allocate(problem.replace(error_budget=least), "relaxed")
    np.testing.assert_array_equal(tight.num_bits, [16, problem.min_bits[1], 16, 16, 16])
    problem.error_weight[:] = 0.0
    for budget in (0.0, 1.0):
        free = allocate(problem.replace(error_budget=budget), "relaxed")
        np.testing.assert_array_equal(free.num_bits, problem.min_bits)
        assert free.multiplier == 0
        assert free.relative_gap <= 1e-12


def test_no_choice_is_taken_as_it_is(make_problem):
    problem = make_problem(5, 0, min_bits=7, max_bits=7)
    errors = problem.error_weight / 127.0**2
    relaxed = allocate(problem.replace(error_budget=errors.sum()), "relaxed")
    np.testing.assert_array_equal(relaxed.num_bits, 7)
    assert relaxed.relative_gap <= 1e-12


def test_infeasible_is_named(make_problem):
    a = allocate(make_problem(5, 0, max_bits=8, error_budget=1e-12), "relaxed")
    assert np.all(a.status == Status.INFEASIBLE_ERROR)
    assert np.isfinite(float(a.kkt_residual))


def test_tables_per_bit_width_are_refused(make_problem):
    problem = make_problem(5, 0, bit_width_error=np.ones((5, len(BIT_WIDTHS))))
    with pytest.raises(
        ValueError, match="relaxed: bit_width_payload_bits and bit_width_error must be None"
    ):
        allocate(problem, "relaxed")
