import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.allocation.search.multiplier import (
    BitWidthTable,
    enumerate_bit_widths,
    fill_budget,
    pick,
    search_multiplier,
)

pytestmark = pytest.mark.usefixtures("float64")


def random_table(seed, num_bit_widths=4, num_clients=3):
    """Arbitrary tables: neither convex nor sorted, some bit widths forbidden."""
    generator = np.random.default_rng(seed)
    energy, error = generator.uniform(0.1, 1.0, (2, num_bit_widths, num_clients))
    energy[generator.uniform(size=energy.shape) < 0.2] = np.inf
    energy[0] = generator.uniform(0.1, 1.0, num_clients)
    return BitWidthTable(energy, np.where(np.isfinite(energy), error, 0.0))


def fill_up(energy, error):
    """A table of usual shape: bit widths that are forbidden, clients without a choice or a cost."""
    shape = np.shape(energy)
    whole = BitWidthTable(np.full((4, 3), np.inf), np.zeros((4, 3)))
    whole.energy[0] = 0.0
    whole.energy[: shape[0], : shape[1]], whole.error[: shape[0], : shape[1]] = energy, error
    return whole


def combinations(table):
    """``(energy, error)`` of every combination of bit widths."""
    num_bit_widths, num_clients = table.energy.shape
    picks = itertools.product(range(num_bit_widths), repeat=num_clients)
    index = np.array(list(picks)).T
    columns = np.arange(num_clients)[:, None]
    return table.energy[index, columns].sum(0), table.error[index, columns].sum(0)


search = jax.jit(search_multiplier)
fill = jax.jit(fill_budget)
enumerate_all = jax.jit(enumerate_bit_widths)
jit_pick = jax.jit(pick)


def test_dual_bound_is_the_maximum_and_below_the_optimum():
    for seed, share in itertools.product(range(10), (0.1, 0.5, 0.9)):
        check_dual_bound(random_table(seed), share, f"seed {seed}, share {share}")


def check_dual_bound(table, share, case):
    energy, error = combinations(table)
    usable = np.isfinite(energy)
    least, most = error[usable].min(), error[usable].max()
    budget = least + share * (most - least)
    priced = search(table, budget)
    # The dual of a finite problem is the lower hull of (error, energy): scan it by its corners.
    prices = np.r_[0.0, np.geomspace(1e-4, 1e4, 20_001)]
    points = np.stack([energy[usable], error[usable] - budget])
    scanned = np.max(np.min(points[0] + prices[:, None] * points[1], axis=1))
    optimum = energy[error <= budget].min()
    assert scanned - 1e-9 <= priced.dual_bound <= optimum + 1e-9, case
    assert np.sum(jit_pick(table.error, priced.bit_width_index)) <= budget, case
    best = enumerate_all(table, budget)
    least = np.sum(jit_pick(table.energy, best))
    np.testing.assert_allclose(least, optimum, rtol=1e-12, err_msg=case)


def test_no_budget_takes_the_cheapest_bit_widths():
    table = random_table(0)
    priced = search(table, jnp.inf)
    np.testing.assert_array_equal(priced.bit_width_index, np.argmin(table.energy, axis=0))
    np.testing.assert_allclose(priced.dual_bound, np.min(table.energy, axis=0).sum())
    assert priced.multiplier == 0


def test_fill_takes_the_move_that_fits_not_the_best_one():
    # From bit width 2, bit width 0 saves most per error and does not fit; bit width 1 does.
    table = fill_up([[1.0], [8.0], [9.0]], [[2.0], [1.0], [0.0]])
    start = np.array([2, 0, 0], np.int32)
    for budget, expected in ((1.5, 1), (2.5, 0), (0.5, 2)):
        assert fill(table, start, budget, 0.0).tolist() == [expected, 0, 0]


def test_fill_spends_first_where_a_unit_of_error_saves_most():
    table = fill_up(
        [[1.0, 5.0, 8.0], [9.0, 9.0, 9.0]],
        [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]],
    )
    start = np.array([1, 1, 1], np.int32)
    for budget, expected in ((1.2, [0, 1, 1]), (2.2, [0, 0, 1]), (3.2, [0, 0, 0])):
        assert fill(table, start, budget, 0.0).tolist() == expected


def test_fill_never_raises_energy_or_leaves_the_budget():
    has_fallen = []
    for seed in range(10):
        table = random_table(seed, num_bit_widths=6, num_clients=8)
        budget = 0.6 * np.sum(np.max(table.error, axis=0))
        priced = search(table, budget)
        filled = fill(table, priced.bit_width_index, budget, priced.dual_bound)
        before, after = (
            np.sum(jit_pick(table.energy, index)) for index in (priced.bit_width_index, filled)
        )
        assert priced.dual_bound - 1e-12 <= after <= before
        has_fallen.append(after < before)
        assert np.sum(jit_pick(table.error, filled)) <= budget
    assert any(has_fallen)
