"""The two knapsacks of a shared band against all combinations."""

import itertools

import numpy as np
import pytest

from fedjax_diffusion.allocation.band.bit_widths import BandBitWidths, least_cost
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.search.multiplier import MAX_EXACT_CLIENTS

NUM_BIT_WIDTHS = 4


@float64_on_cpu
def narrowest_bit_widths(bit_widths, budget):
    return least_cost(bit_widths.by_band(), budget)


@float64_on_cpu
def finest_bit_widths(bit_widths, total_hz):
    return least_cost(bit_widths.by_error(bit_widths.error), total_hz)


def draw(num_clients, seed):
    """Bands that grow and errors that fall with the bit width; some bit widths are not usable."""
    generator = np.random.default_rng([num_clients, seed])
    shape = (NUM_BIT_WIDTHS, num_clients)
    least_hz = np.cumsum(generator.exponential(size=shape), axis=0)
    error = np.cumsum(generator.exponential(size=shape), axis=0)[::-1] ** 2
    is_usable = np.arange(NUM_BIT_WIDTHS)[:, None] < generator.integers(
        2, NUM_BIT_WIDTHS + 1, num_clients
    )
    least_hz = np.where(is_usable, least_hz, np.inf)
    return BandBitWidths(least_hz, np.where(is_usable, error, 0.0), np.zeros(num_clients, np.int32))


def brute_force(bit_widths, limit_of, value_of):
    """Least value of the combinations within a limit; infinite if there is none."""
    num_clients = bit_widths.least_hz.shape[1]
    rows = range(num_clients)
    best = np.inf
    for choice in itertools.product(range(NUM_BIT_WIDTHS), repeat=num_clients):
        band = sum(float(bit_widths.least_hz[b, k]) for b, k in zip(choice, rows, strict=True))
        error = sum(float(bit_widths.error[b, k]) for b, k in zip(choice, rows, strict=True))
        if np.isfinite(band) and limit_of(band, error):
            best = min(best, value_of(band, error))
    return best


def totals(bit_widths, index):
    clients = np.arange(bit_widths.least_hz.shape[1])
    picked = np.asarray(index)
    return float(bit_widths.least_hz[picked, clients].sum()), float(
        bit_widths.error[picked, clients].sum()
    )


@pytest.mark.parametrize("num_clients", [1, 3, MAX_EXACT_CLIENTS + 1])
def test_both_knapsacks(num_clients):
    for seed in range(6):
        bit_widths = draw(num_clients, seed)
        whole = totals(bit_widths, np.zeros(num_clients, int))[0] * 1.7
        band, error = totals(bit_widths, finest_bit_widths(bit_widths, whole))
        assert band <= whole * (1 + 1e-12)
        best = brute_force(bit_widths, lambda w, _, cap=whole: w <= cap, lambda _, v: v)
        check(error, best, bit_widths.error)
        budget = error * 1.5
        band, error = totals(bit_widths, narrowest_bit_widths(bit_widths, budget))
        assert error <= budget
        best = brute_force(bit_widths, lambda _, v, cap=budget: v <= cap, lambda w, _: w)
        check(band, best, np.where(np.isinf(bit_widths.least_hz), 0.0, bit_widths.least_hz))


def check(found, best, cost):
    # Beyond the hull's optimum, which is not above the best, greedy bit widths take one client's
    # step.
    is_exact = cost.shape[1] <= MAX_EXACT_CLIENTS
    step = 0.0 if is_exact else cost.max()
    assert best * (1 - 1e-12) <= found <= best * (1 + 1e-12) + step


@pytest.mark.parametrize("num_clients", [3, MAX_EXACT_CLIENTS + 1])
def test_without_a_budget_the_narrowest_bit_widths(num_clients):
    bit_widths = draw(num_clients, 0)
    assert not np.any(narrowest_bit_widths(bit_widths, np.inf))


def test_clients_without_a_bit_width_do_not_count():
    bit_widths = draw(3, 1)
    bit_widths.least_hz[:, 1], bit_widths.error[:, 1], bit_widths.status[1] = np.inf, 0.0, 1
    others = BandBitWidths(*(rows[..., [0, 2]] for rows in bit_widths))
    for budget in (5.0, 50.0):
        index = narrowest_bit_widths(bit_widths, budget)
        band, error = totals(others, index[[0, 2]])
        assert error <= budget
        best = brute_force(others, lambda _, v, cap=budget: v <= cap, lambda w, _: w)
        assert band == pytest.approx(best, rel=1e-12)
