"""Given bits over one band, against SciPy."""

import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, allocate
from fedjax_diffusion.allocation.band.shared_band import band_residual, share_band
from fedjax_diffusion.allocation.band.split import least_bandwidth
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.problem import bit_width_payload, with_leaves
from fedjax_diffusion.bits import BIT_WIDTHS
from tests.allocation.shared_band_oracle import fill_up, least_band, payload_at, shared_energy

JOINTLY = ":joint_bandwidth"


@pytest.mark.parametrize("num_clients", [1, 3])
@pytest.mark.parametrize("large", [False, True])
def test_equals_scipy(make_problem, num_clients, large):
    for seed in range(5):
        bits = np.random.default_rng(seed).integers(1, 9, num_clients)
        problem = make_problem(num_clients, seed, large=large, min_bits=bits, max_bits=16)
        a = allocate(fill_up(problem) if num_clients == 1 else problem, "demand" + JOINTLY)
        energy, bands = shared_energy(problem, bits)
        np.testing.assert_allclose(a.total_joules, energy, rtol=1e-9)
        np.testing.assert_allclose(a.bandwidth_hz[:num_clients], bands, rtol=1e-3)


def test_equals_scipy_where_the_band_is_scarce(make_problem):
    at_least = 0
    for seed in range(4):
        problem = make_problem(3, seed, large=True)
        payload = payload_at(problem, 4)
        least = np.array([least_band(problem, k, payload) for k in range(3)])
        for factor in (1.02, 1.5):
            scarce = problem.replace(bandwidth_hz=np.full(3, factor * least.sum() / 3))
            a = allocate(scarce, "fixed_bits:4" + JOINTLY)
            np.testing.assert_allclose(a.total_joules, shared_energy(scarce, [4] * 3)[0], rtol=1e-9)
            limits = a.active_limits(scarce)
            at_least += np.sum(limits["max_power_watts"])
    assert at_least >= 4


@pytest.mark.parametrize("num_clients", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_the_certificate_is_tight(make_problem, num_clients):
    # Convex: what is left of the gap, the sum and the conditions is rounding.
    for seed in range(5):
        problem = make_problem(num_clients, seed, large=seed % 2 == 0)
        a = allocate(problem, "demand" + JOINTLY)
        assert np.all(a.status == Status.OPTIMAL)
        assert a.is_band_shared
        assert a.bandwidth_price > 0
        assert a.relative_gap < 1e-12
        assert a.kkt_residual < 1e-9
        np.testing.assert_allclose(a.bandwidth_hz.sum(), problem.bandwidth_hz.sum(), rtol=1e-12)


@float64_on_cpu
def residual_of_other_band(problem, index, moved_hz, scale):
    """Residual of the best shares of a scaled band, moved, as shares of the problem's band."""
    payload = bit_width_payload(problem, index)
    least_hz = least_bandwidth(problem, payload)
    is_active = payload > 0
    scaled = with_leaves(problem, bandwidth_hz=problem.bandwidth_hz * scale)
    band = share_band(scaled, payload, least_hz, is_active)
    band = band._replace(bandwidth_hz=band.bandwidth_hz + moved_hz)
    return band_residual(problem, payload, least_hz, is_active, band)


def test_the_residual_sees_moved_and_unused_band(make_problem):
    problem, index = make_problem(3, 0), np.array([3, 4, 5])
    step = 1e-3 * problem.bandwidth_hz.min()
    assert residual_of_other_band(problem, index, np.zeros(3), 1.0) < 1e-9
    assert residual_of_other_band(problem, index, np.array([step, -step, 0.0]), 1.0) > 1e-6
    # Shares at one price, that leave a hundredth of the band unused.
    unused = residual_of_other_band(problem, index, np.zeros(3), 0.99)
    np.testing.assert_allclose(unused, 0.01, rtol=1e-9)


def test_the_price_is_what_more_band_would_save(make_problem):
    for seed in range(4):
        problem = make_problem(3, seed)
        a = allocate(problem, "fixed_bits:6" + JOINTLY)
        total, step = problem.bandwidth_hz.sum(), 1e-4
        more, less = (
            allocate(
                problem.replace(bandwidth_hz=problem.bandwidth_hz * f), "fixed_bits:6" + JOINTLY
            )
            for f in (1 + step, 1 - step)
        )
        secant = (less.total_joules - more.total_joules) / (2 * step * total)
        np.testing.assert_allclose(a.bandwidth_price, secant, rtol=1e-4)


def test_every_width_shares_one_rule(make_problem):
    problem = make_problem(3, 0, time_budget_seconds=60.0)
    a = allocate(problem, "full_precision" + JOINTLY)
    b = allocate(problem, "fixed_bits:32" + JOINTLY)
    np.testing.assert_array_equal(a.bandwidth_hz, b.bandwidth_hz)
    assert a.num_bits.tolist() == [32] * 3
    assert a.error == 0


def test_largest_bit_widths_have_the_least_variance_that_fits(make_problem):
    for seed in range(4):
        problem = make_problem(3, seed, large=True, min_bits=1, max_bits=16)
        least = [
            np.array([least_band(problem, k, payload_at(problem, b)) for b in range(1, 17)])
            for k in range(3)
        ]
        share = (least[0][6] + least[1][9] + least[2][4]) / 3
        scarce = problem.replace(bandwidth_hz=np.full(3, share))
        a = allocate(scarce, "largest" + JOINTLY)
        fits = add_up(least) <= 3 * share * (1 + 1e-12)
        variance = add_up([1 / (2.0 ** np.arange(1, 17) - 1) ** 2] * 3)
        best = np.unravel_index(np.argmin(np.where(fits, variance, np.inf)), fits.shape)
        assert a.num_bits.tolist() == [index + 1 for index in best]
        assert a.num_bits.max() < BIT_WIDTHS[-2]


def add_up(rows):
    """Returns the sums of all combinations of three rows, [B, B, B]."""
    return rows[0][:, None, None] + rows[1][None, :, None] + rows[2][None, None, :]


def test_who_has_its_own_band_is_told_so(make_problem):
    problem = make_problem(3, 1, min_bits=4, max_bits=16, error_budget=np.inf)
    problem.channel_gain[1] = 1e-25
    a = allocate(problem)
    assert a.bandwidth_hz.tolist() == (problem.bandwidth_hz * [1, 0, 1]).tolist()
    assert a.bandwidth_price == 0
    assert not a.is_band_shared
