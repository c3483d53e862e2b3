"""What clients choose at a price, against golden sections over bits and compute times."""

import functools

import jax
import numpy as np
import pytest

from fedjax_diffusion.allocation.search.priced_bits import Pair, choose_bits, price_clients
from tests.allocation.golden import least_values, minimize

NUM_CLIENTS = 12
OVERHEAD_BITS = 4096.0


def priced_joules(problem, price):
    """Least energy plus priced error of each client as a function of its bits."""
    seconds = float(problem.time_budget_seconds)
    noise = problem.noise_density_watts_per_hz * problem.bandwidth_hz / problem.channel_gain
    rate = problem.bandwidth_hz * np.log2(1 + problem.max_power_watts / noise)
    work = problem.effective_capacitance * problem.compute_cycles**3

    def at(bits):
        payload = problem.num_parameters * bits + OVERHEAD_BITS

        def energy(compute_seconds):
            nats = payload * np.log(2) / (problem.bandwidth_hz * (seconds - compute_seconds))
            sending = (seconds - compute_seconds) * noise * np.expm1(nats)
            return work / compute_seconds**2 + sending

        shortest = problem.compute_cycles / problem.max_frequency_hz
        least = least_values(energy, shortest, np.maximum(shortest, seconds - payload / rate))
        return least + price * problem.error_weight / (2**bits - 1) ** 2

    return at


@pytest.fixture(scope="module")
def problem(make_problem):
    """Half of the clients could send 5 to 15 bits at full power, and no more."""
    problem = make_problem(NUM_CLIENTS, 4, min_bits=2, max_bits=16, error_weight=1.0)
    noise = problem.noise_density_watts_per_hz * problem.bandwidth_hz / problem.channel_gain
    rate = problem.bandwidth_hz * np.log2(1 + problem.max_power_watts / noise)
    most = np.linspace(5.0, 15.0, NUM_CLIENTS)
    upload_seconds = (problem.num_parameters * most + OVERHEAD_BITS) / rate
    seconds = 1.2 * upload_seconds.max()
    frequency = problem.compute_cycles / (seconds - upload_seconds)
    frequency[1::2] *= 3.0
    return problem.replace(time_budget_seconds=seconds, max_frequency_hz=frequency)


@pytest.fixture(scope="module")
def upper(problem):
    """What each could send at full frequency and full power, at most 16 bits."""
    noise = problem.noise_density_watts_per_hz * problem.bandwidth_hz / problem.channel_gain
    rate = problem.bandwidth_hz * np.log2(1 + problem.max_power_watts / noise)
    room = problem.time_budget_seconds - problem.compute_cycles / problem.max_frequency_hz
    return np.minimum((room * rate - OVERHEAD_BITS) / problem.num_parameters, 16.0)


@functools.partial(jax.jit, static_argnames="is_time_fixed")
def choose(problem, upper, log_price, is_time_fixed=False):
    clients = price_clients(problem, Pair(problem.min_bits, upper), OVERHEAD_BITS, is_time_fixed)
    answer = choose_bits(clients, log_price, clients.log_nats.lower)
    return answer, clients.log_price_bracket(), clients.shortest_share


@pytest.mark.parametrize("log_price", [-3.0, 2.0, 7.0, 12.0, 25.0])
def test_equals_the_search_over_bits_and_compute_times(float64, problem, upper, log_price):
    answer, *_ = choose(problem, upper, log_price)
    joules = priced_joules(problem, np.exp(log_price))
    bits, least = minimize(joules, problem.min_bits, upper)
    np.testing.assert_allclose(answer.num_bits, bits, atol=2e-3)
    assert np.all(joules(np.asarray(answer.num_bits)) <= least * (1 + 1e-9))


def test_prices_beyond_the_bracket_give_exact_limits(float64, problem, upper):
    _, bracket, _ = choose(problem, upper, 0.0)
    low, *_ = choose(problem, upper, float(np.min(bracket.lower)))
    high, *_ = choose(problem, upper, float(np.max(bracket.upper)))
    np.testing.assert_array_equal(low.num_bits, problem.min_bits)
    np.testing.assert_array_equal(high.num_bits, upper)
    assert not np.any(low.bits_slope)


@pytest.mark.parametrize("is_time_fixed", [False, True])
@pytest.mark.parametrize("log_price", [2.0, 7.0])
def test_slopes_are_those_of_finite_differences(float64, problem, upper, log_price, is_time_fixed):
    step = 1e-4
    (below, *_), (at, *_), (above, *_) = (
        choose(problem, upper, log_price + shift, is_time_fixed) for shift in (-step, 0.0, step)
    )
    below, at, above = (jax.tree.map(np.asarray, answer) for answer in (below, at, above))
    is_smooth = (below.bits_slope > 0) == (above.bits_slope > 0)
    assert np.sum(at.bits_slope[is_smooth] > 0) >= 4
    for name, slope in (("num_bits", at.bits_slope), ("log_nats", at.nats_slope)):
        difference = (getattr(above, name) - getattr(below, name)) / (2 * step)
        np.testing.assert_allclose(difference[is_smooth], slope[is_smooth], rtol=1e-5, atol=1e-9)


def test_a_fixed_compute_time_is_the_shortest(float64, problem, upper):
    answer, _, shortest_share = choose(problem, upper, 7.0, is_time_fixed=True)
    np.testing.assert_array_equal(answer.compute_share, shortest_share)
