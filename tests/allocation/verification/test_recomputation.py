"""The equations of the verifier against SciPy's minimizers and against closed forms."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from fedjax_diffusion.allocation import allocate, verify
from fedjax_diffusion.allocation.verification.recomputation import Recomputation
from fedjax_diffusion.bits import BIT_WIDTHS

NUM_CLIENTS = 5


def scipy_joules(problem, client, payload, bandwidth_hz):
    """The least energy of one client over one band."""
    noise = float(problem.noise_density_watts_per_hz) * bandwidth_hz / problem.channel_gain[client]
    rate = bandwidth_hz * np.log2(1 + problem.max_power_watts[client] / noise)
    cycles, deadline = problem.compute_cycles[client], float(problem.time_budget_seconds)
    low, high = cycles / problem.max_frequency_hz[client], deadline - payload / rate
    if low > high:
        return np.inf

    def energy(tau):
        load = payload * np.log(2) / (bandwidth_hz * (deadline - tau))
        computing = problem.effective_capacitance[client] * cycles**3 / tau**2
        return computing + (deadline - tau) * noise * np.expm1(load)

    options = {"xatol": 1e-12 * deadline}
    found = minimize_scalar(energy, bounds=(low, high), method="bounded", options=options)
    return min(found.fun, energy(low), energy(high))


def payload_of(bits):
    return 8 * np.ceil(267_000 * bits / 8) + 4096


@pytest.mark.parametrize("deadline", [2.5, 10.0, 200.0])
def test_least_energy_of_every_bit_width(make_problem, deadline):
    problem = make_problem(NUM_CLIENTS, 1, time_budget_seconds=deadline, min_bits=1, max_bits=32)
    problem.channel_gain[0] = 1e-15
    problem.effective_capacitance[1:3] = 1e-40, 1e-18
    energy = Recomputation(problem, problem.bandwidth_hz).bit_width_joules(0.0)
    expected = [
        [
            scipy_joules(problem, client, payload_of(bits), problem.bandwidth_hz[client])
            for client in range(NUM_CLIENTS)
        ]
        for bits in BIT_WIDTHS
    ]
    np.testing.assert_allclose(energy, expected, rtol=1e-9)


def test_least_seconds_are_those_of_full_power_and_speed(make_problem):
    problem = make_problem(NUM_CLIENTS, 1, large=True)
    anew = Recomputation(problem, problem.bandwidth_hz)
    payload = anew.bit_width_payloads()[7]
    upload_seconds = anew.least_seconds(payload) - anew.shortest_compute
    watts = anew.needed_watts(payload, upload_seconds)
    np.testing.assert_allclose(watts, problem.max_power_watts, rtol=1e-9)


def test_least_band_is_that_of_full_power_and_speed(make_problem):
    problem = make_problem(NUM_CLIENTS, 1)
    whole = np.full(NUM_CLIENTS, problem.bandwidth_hz.sum())
    payload = payload_of(np.full(NUM_CLIENTS, 8))
    least_hz = Recomputation(problem, whole).least_hz(payload)
    seconds = Recomputation(problem, least_hz).least_seconds(payload)
    np.testing.assert_allclose(seconds, problem.time_budget_seconds, rtol=1e-10)


@pytest.mark.parametrize("price", [0.0, 1e-9, 1e-6])
def test_least_energy_at_a_price_of_bandwidth(make_problem, price):
    problem = make_problem(NUM_CLIENTS, 1)
    whole = np.full(NUM_CLIENTS, problem.bandwidth_hz.sum())
    payload = payload_of(np.full(NUM_CLIENTS, 8))
    anew = Recomputation(problem, whole, band_price=price)
    least_hz = anew.least_hz(payload)
    for client, joules in enumerate(anew.least_joules(payload)):

        def priced(log_hz, client=client):
            bandwidth_hz = np.exp(log_hz)
            energy = scipy_joules(problem, client, payload[client], bandwidth_hz)
            return energy + price * bandwidth_hz

        limits = np.log([least_hz[client] * (1 + 1e-12), whole[client]])
        options = {"xatol": 1e-6}
        inside = minimize_scalar(priced, bounds=limits, method="bounded", options=options).fun
        found = min(inside, *map(priced, limits))
        np.testing.assert_allclose(joules, found, rtol=1e-9)


def test_real_bits_pass_through_the_bit_widths(make_problem):
    problem = make_problem(NUM_CLIENTS, 0, max_bits=16, num_parameters=8_000_000, overhead_bits=0.0)
    bit_widths, real = (
        Recomputation(problem, problem.bandwidth_hz, is_real=is_real) for is_real in (False, True)
    )
    for bits in (1.0, 7.0, 16.0):
        num_bits = np.full(NUM_CLIENTS, bits)
        np.testing.assert_allclose(real.payload(num_bits), bit_widths.payload(num_bits))
        np.testing.assert_allclose(real.error(num_bits), bit_widths.error(num_bits))
    exact = problem.replace(max_bits=32)
    assert not np.any(
        Recomputation(exact, exact.bandwidth_hz, is_real=True).error(np.full(NUM_CLIENTS, 32.0))
    )


def test_the_bound_is_the_dual_at_any_multiplier(make_problem):
    problem = make_problem(NUM_CLIENTS, 2)
    allocation = allocate(problem)
    for scale in (0.0, 0.3, 1.0, 3.0):
        multiplier = scale * float(allocation.multiplier)
        priced = [
            scipy_joules(problem, client, payload_of(bits), problem.bandwidth_hz[client])
            + multiplier * problem.error_weight[client] / (2.0**bits - 1) ** 2
            for client in range(NUM_CLIENTS)
            for bits in range(1, 17)
        ]
        is_allowed = [
            problem.min_bits[client] <= bits <= problem.max_bits[client]
            for client in range(NUM_CLIENTS)
            for bits in range(1, 17)
        ]
        priced = np.where(is_allowed, priced, np.inf).reshape(NUM_CLIENTS, 16)
        dual = priced.min(axis=1).sum() - multiplier * float(problem.error_budget)
        found = verify(problem, allocation.replace(multiplier=np.array(multiplier)))
        assert found.is_valid
        np.testing.assert_allclose(found.lagrangian_bound_joules, dual, rtol=1e-8)


def test_the_rate_of_a_wide_band_keeps_its_digits(make_problem):
    """``log2(1 + s)`` is ``s / ln 2 (1 - s / 2)`` for the tiny s of 100 GHz."""
    problem = make_problem(NUM_CLIENTS, 1, bandwidth_hz=1e11, channel_gain=1.24e-15)
    rate = Recomputation(problem, problem.bandwidth_hz).bits_per_second
    ratio = problem.max_power_watts * problem.channel_gain
    ratio = ratio / (problem.noise_density_watts_per_hz * problem.bandwidth_hz)
    assert (ratio < 1e-6).all()
    expected = problem.bandwidth_hz * ratio * (1 - ratio / 2) / np.log(2)
    np.testing.assert_allclose(rate, expected, rtol=1e-12)


def test_a_client_at_full_power_over_a_wide_band_is_as_cheap_as_its_bound(make_problem):
    """Such a client sends in exactly the time that its rate needs: both sides need all digits."""
    usual = {"min_bits": 2, "max_bits": 2, "compute_cycles": 2e9, "effective_capacitance": 1e-27}
    usual |= {"max_frequency_hz": 2e9, "bandwidth_hz": 1e11, "time_budget_seconds": 10.0}
    usual |= {"noise_density_watts_per_hz": 4e-21, "num_parameters": 371_645, "overhead_bits": 512}
    usual |= {"max_power_watts": 0.2}
    for gain in np.geomspace(1.1e-15, 1.3e-15, 6):
        problem = make_problem(NUM_CLIENTS, 1, channel_gain=gain, error_budget=1e3, **usual)
        for method in ("relaxed", "on_demand"):
            assert verify(problem, allocate(problem, method)).violations == (), (method, gain)
