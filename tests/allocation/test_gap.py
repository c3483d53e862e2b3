"""How far whole bits are from the best ones: by the certificate, and by an independent solver."""

import jax
import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from fedjax_diffusion.allocation import Status, allocate, make_allocator
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.search.client_table import client_table
from fedjax_diffusion.allocation.search.time_split import optimal_split
from tests.allocation.padding import pad

BIT_WIDTH_TABLE = float64_on_cpu(lambda problem: client_table(problem, optimal_split)[0])


def random_problems(make_problem, num_clients, count):
    """Small and large models, heterogeneous demands, budgets of 3 to 9 bits for everybody."""
    for seed in range(count):
        problem = make_problem(num_clients, seed, large=seed % 2 == 1)
        bits = 3 + seed % 7
        yield problem.replace(error_budget=problem.error_weight.sum() / (2.0**bits - 1) ** 2)


def certified_gaps(make_problem, num_clients, count):
    """The gaps of the instances in which somebody participates."""
    gaps = []
    for problem in random_problems(make_problem, num_clients, count):
        kept = allocate(problem.replace(error_budget=np.inf)).status == Status.OPTIMAL
        # Who cannot deliver at all, does not participate: its weight is out of the budget too.
        weight = np.where(kept, problem.error_weight, 0.0)
        share = weight.sum() / problem.error_weight.sum()
        answer = allocate(
            problem.replace(error_weight=weight, error_budget=share * problem.error_budget)
        )
        if np.any(answer.status == Status.OPTIMAL):
            assert answer.error <= share * problem.error_budget * (1 + 1e-12)
            gaps.append(float(answer.relative_gap))
    return np.array(gaps)


@pytest.mark.parametrize(
    "count", [50, pytest.param(140, marks=pytest.mark.slow)], ids="{} instances".format
)
def test_a_hundred_clients_are_within_a_thousandth_of_the_bound(make_problem, count):
    gaps = certified_gaps(make_problem, 100, count)
    assert len(gaps) >= 0.7 * count
    assert np.median(gaps) <= 2e-4
    assert np.mean(gaps <= 1e-3) >= 0.95


@pytest.mark.parametrize(
    "count", [2, pytest.param(14, marks=pytest.mark.slow)], ids="{} instances".format
)
def test_ten_thousand_clients_are_within_a_hundred_thousandth_of_the_bound(make_problem, count):
    gaps = certified_gaps(make_problem, 10_000, count)
    assert len(gaps) >= 0.7 * count
    assert np.median(gaps) <= 1e-6
    assert np.max(gaps) <= 1e-5


def least_energy(table, budget):
    """The optimum of the multiple-choice knapsack, by HiGHS."""
    energy, error = (np.asarray(part).ravel() for part in table)
    is_usable = np.isfinite(energy)
    num_bit_widths, num_clients = table.energy.shape
    one_bit_width_each = np.tile(np.eye(num_clients), num_bit_widths)
    scale = energy[is_usable].min()
    found = milp(
        np.where(is_usable, energy / scale, 0.0),
        integrality=np.ones(energy.size),
        bounds=Bounds(0, is_usable.astype(float)),
        constraints=[
            LinearConstraint(one_bit_width_each, 1, 1),
            LinearConstraint(error / budget, -np.inf, 1),
        ],
        options={"mip_rel_gap": 1e-9},
    )
    assert found.success
    return found.fun * scale


@pytest.mark.parametrize("num_clients", [5, 16])
def test_the_bound_and_the_energy_enclose_the_optimum_of_highs(make_problem, num_clients):
    num_compared = 0
    for problem in random_problems(make_problem, num_clients, 12):
        padded = pad(problem, 5 if num_clients <= 5 else 100)
        answer = allocate(padded)
        if np.all(answer.status[:num_clients] == Status.OPTIMAL):
            num_compared += 1
            table = jax.tree.map(lambda rows: rows[:, :num_clients], BIT_WIDTH_TABLE(padded))
            best = least_energy(table, float(problem.error_budget))
            assert answer.dual_bound_joules <= best * (1 + 1e-6)
            assert answer.total_joules >= best * (1 - 1e-6)
            assert answer.total_joules <= best * 1.1
    assert num_compared >= 5


def test_enumerated_answers_are_their_own_bound(make_problem):
    for seed in range(10):
        answer = allocate(make_problem(3, seed))
        if np.all(answer.status == Status.OPTIMAL):
            assert answer.relative_gap <= 1e-14


def test_sixty_four_problems_in_one_call_equal_single_calls(make_problem):
    masks = np.random.default_rng(0).random((64, 5)) < 0.8
    problems = [
        make_problem(5, seed, max_bits=16, is_present=mask) for seed, mask in enumerate(masks)
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *problems)
    together = float64_on_cpu(jax.vmap(make_allocator("on_demand")))(stacked)
    for i, problem in enumerate(problems):
        alone = allocate(problem)
        np.testing.assert_array_equal(together.status[i], alone.status)
        np.testing.assert_array_equal(together.num_bits[i], alone.num_bits)
        np.testing.assert_allclose(together.transmit_joules[i], alone.transmit_joules, rtol=1e-9)
        joules = together.compute_joules[i].sum() + together.transmit_joules[i].sum()
        np.testing.assert_allclose(joules, alone.total_joules, rtol=1e-9)
        np.testing.assert_allclose(
            together.dual_bound_joules[i], alone.dual_bound_joules, rtol=1e-9
        )
