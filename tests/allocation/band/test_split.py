"""One client at a price of bandwidth, against golden sections over (tau, W)."""

import jax
import numpy as np
import pytest

from fedjax_diffusion.allocation import AllocationProblem
from fedjax_diffusion.allocation.band.split import bandwidth_price, least_bandwidth, split_at_price
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.search.time_split import client_cost, optimal_split
from tests.allocation.golden import least_values

NUM_CLIENTS = 240
DEADLINE = 10.0


@float64_on_cpu
def split_and_least(problem, payload, log_price):
    least_hz = least_bandwidth(problem, payload)
    return split_at_price(problem, payload, least_hz, log_price), least_hz


@float64_on_cpu
def cost_and_price(problem, payload):
    compute_seconds = optimal_split(problem, payload)
    energy = client_cost(problem, payload, compute_seconds).total_joules
    return energy, bandwidth_price(problem, payload, compute_seconds)


def draw(decades, seed, **fields):
    """Clients, payloads and one price each, log-uniform over a range around usual values."""
    generator = np.random.default_rng([int(10 * decades), seed])

    def spread(middle):
        return middle * 10.0 ** generator.uniform(-decades, decades, NUM_CLIENTS)

    usual = {
        "compute_cycles": spread(3e9),
        "effective_capacitance": spread(1e-28),
        "max_frequency_hz": spread(2e9),
        "channel_gain": spread(1e-11),
        "bandwidth_hz": 1e6,
        "max_power_watts": spread(0.2),
        "noise_density_watts_per_hz": 4e-21,
        "num_parameters": 267_000,
        "overhead_bits": 0,
        "min_bits": 1,
        "max_bits": 16,
        "error_weight": 1.0,
        "error_budget": np.inf,
        "time_budget_seconds": DEADLINE,
    }
    return AllocationProblem(**(usual | fields)), spread(1e6), np.log(spread(1e-8))


def oracle(problem, payload, price):
    """Least energy plus price of each client, by two nested one-dimensional searches."""
    cycles, kappa = problem.compute_cycles, problem.effective_capacitance
    noise = problem.noise_density_watts_per_hz / problem.channel_gain
    power, shortest = problem.max_power_watts, cycles / problem.max_frequency_hz
    longest = DEADLINE - shortest

    def over_time(log_hz):
        band = np.exp(log_hz)
        least = payload * np.log(2) / (band * np.log1p(power / (noise * band)))

        # In log t, so that a short upload is resolved as well as a long one.
        def energy(log_upload):
            upload = np.exp(log_upload)
            watts = noise * band * np.expm1(payload * np.log(2) / (band * upload))
            return kappa * cycles**3 / (DEADLINE - upload) ** 2 + upload * watts

        found = least_values(energy, np.log(np.minimum(least, longest)), np.log(longest))
        return np.where(least > longest, np.inf, found + price * band)

    return over_time


def test_split_equals_golden_sections_on_wide_boxes():
    checked = limited = 0
    for decades in (0.5, 2.0):
        problem, payload, log_price = draw(decades, 0)
        split, least_hz = split_and_least(problem, payload, log_price)
        paid = split.total_joules + np.exp(log_price) * split.bandwidth_hz
        kept = np.isfinite(least_hz)
        some = jax.tree.map(lambda leaf: leaf[kept] if np.ndim(leaf) else leaf, problem)  # noqa: B023
        fn = oracle(some, payload[kept], np.exp(log_price[kept]))
        low, high = np.log(least_hz[kept] * (1 + 1e-12)), np.log(least_hz[kept] * 1e9)
        np.testing.assert_allclose(paid[kept], least_values(fn, low, high), rtol=1e-8)
        checked += kept.sum()
        bands = np.where(kept, split.bandwidth_hz, 1.0)
        watts = split_watts(problem.replace(bandwidth_hz=bands), payload)
        limited += np.sum(watts[kept] > problem.max_power_watts[kept] * (1 - 1e-6))
    assert checked >= 200
    assert limited >= 15


@float64_on_cpu
def split_watts(problem, payload):
    cost = client_cost(problem, payload, optimal_split(problem, payload))
    return cost.transmit_power_watts


@pytest.mark.parametrize("decades", [0.5, 2.0, 5.0])
def test_band_and_energy_are_stationary(decades):
    # The energy of the best split over the band that was taken, and its price, by other formulas.
    problem, payload, log_price = draw(decades, 1)
    split, least_hz = split_and_least(problem, payload, log_price)
    for leaf in (*split, least_hz):
        assert not np.isnan(leaf).any()
    is_reachable = np.isfinite(least_hz)
    assert is_reachable.sum() > 50
    band = split.bandwidth_hz
    assert np.all(band[is_reachable] >= least_hz[is_reachable])
    kept = problem.replace(bandwidth_hz=np.where(is_reachable, band, 1.0))
    energy, price = cost_and_price(kept, payload)
    excess = price / np.exp(log_price) - 1
    is_least = band <= least_hz * (1 + 1e-9)
    rtol = 1e-9 if decades < 5 else 1e-6
    np.testing.assert_allclose(split.total_joules[is_reachable], energy[is_reachable], rtol=rtol)
    assert np.all(np.abs(excess[is_reachable & ~is_least]) < rtol * 10)
    assert np.all(excess[is_reachable & is_least] < rtol * 10)


def test_slope_is_the_derivative_of_the_band():
    problem, payload, log_price = draw(1.0, 2)
    split, least_hz = split_and_least(problem, payload, log_price)
    above, _ = split_and_least(problem, payload, log_price + 1e-5)
    below, _ = split_and_least(problem, payload, log_price - 1e-5)
    secant = np.log(above.bandwidth_hz / below.bandwidth_hz) / 2e-5
    is_reachable = np.isfinite(least_hz)
    difference = np.abs(secant - split.log_slope)[is_reachable]
    # A client may change from one limit to another in between.
    assert np.mean(difference < 1e-6) > 0.98
    assert np.all(split.log_slope[is_reachable] <= 0)


def test_price_is_the_derivative_of_the_energy():
    problem, payload, log_price = draw(1.0, 3)
    split, least_hz = split_and_least(problem, payload, log_price)
    is_inside = np.isfinite(least_hz) & (split.bandwidth_hz > least_hz * 1.01)
    band = np.where(is_inside, split.bandwidth_hz * 1.1, 1e6)
    _, price = cost_and_price(problem.replace(bandwidth_hz=band), payload)
    above, _ = cost_and_price(problem.replace(bandwidth_hz=band * (1 + 1e-4)), payload)
    below, _ = cost_and_price(problem.replace(bandwidth_hz=band * (1 - 1e-4)), payload)
    secant = (below - above) / (2e-4 * band)
    is_clear = is_inside & (below - above > 1e-8 * below)
    assert is_clear.sum() > 50
    ratio = secant[is_clear] / price[is_clear]
    assert np.mean(np.abs(ratio - 1) < 1e-5) > 0.97


@pytest.mark.parametrize("decades", [0.5, 2.0])
def test_the_least_band_is_just_enough(decades):
    problem, payload, _ = draw(decades, 4)
    least_hz = split_and_least(problem, payload, np.zeros(NUM_CLIENTS))[1]
    noise = problem.noise_density_watts_per_hz / problem.channel_gain
    room = DEADLINE - problem.compute_cycles / problem.max_frequency_hz
    # Over an endless band the rate is P h / (N0 ln 2).
    saturated = payload * np.log(2) * noise / problem.max_power_watts
    np.testing.assert_array_equal(np.isinf(least_hz), saturated >= room)
    assert 0 < np.isinf(least_hz).sum() < NUM_CLIENTS
    kept = np.isfinite(least_hz)
    band, noise, power = least_hz[kept], noise[kept], problem.max_power_watts[kept]
    seconds = payload[kept] / (band * np.log1p(power / (noise * band)) / np.log(2))
    # Near saturation the band is ill-conditioned, the time that it takes is not.
    np.testing.assert_allclose(seconds, room[kept], rtol=1e-12)


def test_prices_beyond_any_use_take_the_least_and_endless_bands():
    problem, payload, _ = draw(1.0, 5)
    dear, least_hz = split_and_least(problem, payload, np.full(NUM_CLIENTS, 200.0))
    free, _ = split_and_least(problem, payload, np.full(NUM_CLIENTS, -200.0))
    kept = np.isfinite(least_hz)
    np.testing.assert_allclose(dear.bandwidth_hz[kept], least_hz[kept], rtol=1e-12)
    assert np.all(free.bandwidth_hz[kept] > 1e6 * least_hz[kept])
    work = problem.noise_density_watts_per_hz / problem.channel_gain * payload * np.log(2)
    assert np.all(free.total_joules[kept] > work[kept])
