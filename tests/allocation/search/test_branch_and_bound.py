"""Branch and bound on bare tables, against all combinations."""

import functools
import itertools

import numpy as np
import pytest

from fedjax_diffusion.allocation.search.branch_and_bound import search_bit_widths
from tests.each import check_each

MANY = 10**6


def total(rows, bit_widths):
    return rows[bit_widths, np.arange(rows.shape[1])].sum()


def finest(energy, error):
    """Each client's bit width of least error."""
    return np.argmin(np.where(np.isfinite(energy), error, np.inf), axis=0)


def brute_force(energy, error, budget):
    """The least energy over all combinations of bit widths."""
    energies, errors = (
        functools.reduce(lambda sums, row: np.add.outer(sums, row).ravel(), rows.T)
        for rows in (energy, error)
    )
    return float(np.min(energies, where=errors <= budget, initial=np.inf))


def random_table(generator, kind, num_bit_widths, num_clients):
    """Energy and error [B, K], and a budget that can be met."""
    shape = (num_bit_widths, num_clients)
    error = generator.uniform(0.0, 1.0, shape)
    energy = {
        "unrelated": generator.uniform(0.0, 1.0, shape),
        "related": 1.5 - error + generator.uniform(-0.2, 0.2, shape),
        "proportional": 2.0 - error,
        "whole numbers": generator.integers(0, 4, shape).astype(float),
        "equal clients": np.repeat(
            generator.uniform(0.0, 1.0, (num_bit_widths, 1)), num_clients, 1
        ),
        "some not usable": generator.uniform(0.0, 1.0, shape),
    }[kind]
    if kind == "whole numbers":
        error = generator.integers(0, 4, shape).astype(float)
    if kind == "equal clients":
        error = np.repeat(error[:, :1], num_clients, axis=1)
    if kind == "some not usable":
        is_lost = generator.random(shape) < 0.5
        is_lost[generator.integers(num_bit_widths), :] = False
        energy, error = np.where(is_lost, np.inf, energy), np.where(is_lost, 0.0, error)
    least = total(error, finest(energy, error))
    most = np.max(np.where(np.isfinite(energy), error, 0.0), axis=0).sum()
    share = generator.choice([0.0, generator.uniform(), generator.uniform() ** 3, 1.0])
    return energy, error, least + share * (most - least)


KINDS = (
    "unrelated",
    "related",
    "proportional",
    "whole numbers",
    "equal clients",
    "some not usable",
)


def test_equals_brute_force():
    cases = itertools.product(KINDS, ((17, 1), (17, 3), (6, 6), (3, 9)))
    check_each(((kind, *shape) for kind, shape in cases), check_against_brute_force)


def check_against_brute_force(kind, num_bit_widths, num_clients):
    generator = np.random.default_rng([num_bit_widths, num_clients])
    for _ in range(12):
        energy, error, budget = random_table(generator, kind, num_bit_widths, num_clients)
        start = finest(energy, error)
        budget = max(budget, total(error, start)) * (1 + 1e-12)
        proven = search_bit_widths(energy, error, budget, start, target_gap=1e-9, max_nodes=MANY)
        joules, least = total(energy, proven.bit_width_index), brute_force(energy, error, budget)
        np.testing.assert_allclose(joules, least, rtol=1e-9)
        assert total(error, proven.bit_width_index) <= budget
        assert joules * (1 - 1e-9) <= proven.bound_joules <= least * (1 + 1e-12)
        assert proven.bit_width_index.dtype == np.int32


def hard_table(num_clients, seed):
    """A subset sum: energy is proportional to error, so that the hulls tell nothing."""
    generator = np.random.default_rng(seed)
    error = generator.uniform(1.0, 2.0, (4, num_clients))
    return 3.0 - error, error, 1.5 * num_clients


@pytest.mark.parametrize("max_nodes", [1, 10, 100])
def test_what_is_cut_off_lowers_the_bound(max_nodes):
    gaps = []
    for seed in range(6):
        energy, error, budget = hard_table(7, seed)
        start, least = finest(energy, error), brute_force(energy, error, budget)
        cut = search_bit_widths(energy, error, budget, start, target_gap=1e-12, max_nodes=max_nodes)
        joules = total(energy, cut.bit_width_index)
        assert cut.bound_joules <= least * (1 + 1e-14)
        assert least * (1 - 1e-14) <= joules <= total(energy, start)
        assert total(error, cut.bit_width_index) <= budget
        gaps.append(joules - cut.bound_joules)
    assert max(gaps) > 1e-9


def test_stops_at_the_target():
    energy, error, budget = hard_table(12, 0)
    start = finest(energy, error)
    for target_gap in (0.5, 1e-2, 1e-3):
        proven = search_bit_widths(
            energy, error, budget, start, target_gap=target_gap, max_nodes=100_000
        )
        joules = total(energy, proven.bit_width_index)
        assert joules * (1 - target_gap) <= proven.bound_joules <= joules


def test_without_a_budget_all_are_cheapest():
    energy, error, _ = hard_table(5, 0)
    proven = search_bit_widths(
        energy, error, np.inf, finest(energy, error), target_gap=1e-9, max_nodes=1
    )
    np.testing.assert_array_equal(proven.bit_width_index, np.argmin(energy, axis=0))
    np.testing.assert_allclose(proven.bound_joules, energy.min(axis=0).sum(), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1e12, 1e200])
def test_units_change_nothing(scale):
    energy, error, budget = random_table(np.random.default_rng(3), "related", 8, 6)
    start = finest(energy, error)
    expected = search_bit_widths(energy, error, budget, start, target_gap=1e-9, max_nodes=MANY)
    scaled = search_bit_widths(
        energy, error * scale, budget * scale, start, target_gap=1e-9, max_nodes=MANY
    )
    np.testing.assert_array_equal(scaled.bit_width_index, expected.bit_width_index)


def test_the_start_may_be_the_best():
    energy, error, budget = random_table(np.random.default_rng(4), "related", 8, 6)
    first = search_bit_widths(
        energy, error, budget, finest(energy, error), target_gap=1e-9, max_nodes=MANY
    )
    start = first.bit_width_index.astype(int)
    again = search_bit_widths(energy, error, budget, start, target_gap=1e-9, max_nodes=MANY)
    np.testing.assert_array_equal(again.bit_width_index, start)
    np.testing.assert_allclose(again.bound_joules, first.bound_joules, rtol=1e-9)
