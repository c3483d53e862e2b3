"""The two knapsacks of a shared band against all combinations."""

import itertools

import numpy as np
import pytest

from fedjax_diffusion.allocation.band.levels import MAX_EXACT_CLIENTS, BandLevels, least_cost
from fedjax_diffusion.allocation.float64 import float64_on_cpu

NUM_LEVELS = 4


@float64_on_cpu
def narrowest_levels(levels, budget):
    return least_cost(levels.by_band(), budget)


@float64_on_cpu
def finest_levels(levels, total_hz):
    return least_cost(levels.by_error(levels.error), total_hz)


def draw(num_clients, seed):
    """Bands that grow and errors that fall with the level; some levels are not usable."""
    generator = np.random.default_rng([num_clients, seed])
    shape = (NUM_LEVELS, num_clients)
    least_hz = np.cumsum(generator.exponential(size=shape), axis=0)
    error = np.cumsum(generator.exponential(size=shape), axis=0)[::-1] ** 2
    is_usable = np.arange(NUM_LEVELS)[:, None] < generator.integers(2, NUM_LEVELS + 1, num_clients)
    least_hz = np.where(is_usable, least_hz, np.inf)
    return BandLevels(least_hz, np.where(is_usable, error, 0.0), np.zeros(num_clients, np.int32))


def brute_force(levels, limit_of, value_of):
    """Least value of the combinations within a limit; infinite if there is none."""
    num_clients = levels.least_hz.shape[1]
    rows = range(num_clients)
    best = np.inf
    for choice in itertools.product(range(NUM_LEVELS), repeat=num_clients):
        band = sum(float(levels.least_hz[b, k]) for b, k in zip(choice, rows, strict=True))
        error = sum(float(levels.error[b, k]) for b, k in zip(choice, rows, strict=True))
        if np.isfinite(band) and limit_of(band, error):
            best = min(best, value_of(band, error))
    return best


def totals(levels, index):
    clients = np.arange(levels.least_hz.shape[1])
    picked = np.asarray(index)
    return float(levels.least_hz[picked, clients].sum()), float(levels.error[picked, clients].sum())


@pytest.mark.parametrize("num_clients", [1, 3, MAX_EXACT_CLIENTS + 1])
def test_both_knapsacks(num_clients):
    for seed in range(6):
        levels = draw(num_clients, seed)
        whole = totals(levels, np.zeros(num_clients, int))[0] * 1.7
        band, error = totals(levels, finest_levels(levels, whole))
        assert band <= whole * (1 + 1e-12)
        best = brute_force(levels, lambda w, _, cap=whole: w <= cap, lambda _, v: v)
        check(error, best, levels.error)
        budget = error * 1.5
        band, error = totals(levels, narrowest_levels(levels, budget))
        assert error <= budget
        best = brute_force(levels, lambda _, v, cap=budget: v <= cap, lambda w, _: w)
        check(band, best, np.where(np.isinf(levels.least_hz), 0.0, levels.least_hz))


def check(found, best, cost):
    # Beyond the hull's optimum, which is not above the best, greedy levels take one client's step.
    is_exact = cost.shape[1] <= MAX_EXACT_CLIENTS
    step = 0.0 if is_exact else cost.max()
    assert best * (1 - 1e-12) <= found <= best * (1 + 1e-12) + step


@pytest.mark.parametrize("num_clients", [3, MAX_EXACT_CLIENTS + 1])
def test_without_a_budget_the_narrowest_levels(num_clients):
    levels = draw(num_clients, 0)
    assert not np.any(narrowest_levels(levels, np.inf))


def test_clients_without_a_level_do_not_count():
    levels = draw(3, 1)
    levels.least_hz[:, 1], levels.error[:, 1], levels.status[1] = np.inf, 0.0, 1
    others = BandLevels(*(rows[..., [0, 2]] for rows in levels))
    for budget in (5.0, 50.0):
        index = narrowest_levels(levels, budget)
        np.testing.assert_array_equal(index[[0, 2]], narrowest_levels(others, budget))
