import itertools
from fractions import Fraction
from math import factorial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from fedjax_diffusion.edge import costs as equations

pytestmark = pytest.mark.usefixtures("float64")
N0 = 10**-20.4
NAMES = ("payload_bits", "min_compute_seconds", "compute_energy", "compute_watts_saved", "rate")
NAMES += ("min_upload_seconds", "upload_power", "upload_energy", "upload_watts_saved")
NAMES += ("spectral_nats", "power_curve")
costs = SimpleNamespace(**{name: jax.jit(getattr(equations, name)) for name in NAMES})
"""The equations, each of them one program."""


def exact_curve(nats: float) -> float:
    """``y e^y - e^y + 1 = sum (n - 1) y^n / n!`` in exact rational arithmetic."""
    y = Fraction(nats)
    return float(sum(Fraction(n - 1, factorial(n)) * y**n for n in range(2, 60)))


def test_payload_is_whole_bytes_exactly():
    nums_parameters, nums_bits = (1, 7, 267_009, 35_700_001, 999_999_999), (1, 3, 8, 11, 16, 32)
    for num_parameters, num_bits in itertools.product(nums_parameters, nums_bits):
        payload = costs.payload_bits(float(num_parameters), num_bits, 416.0)
        expected = 8 * -(-num_parameters * num_bits // 8) + 416
        assert int(payload) == expected, (num_parameters, num_bits)


def test_closed_forms():
    # 1 Gcycle at 1 GHz, 23 dBm over 1 MHz at 100 dB of loss: SNR 10^(-1 + 0.301 + 11.4 - 7 + ...)
    assert float(costs.min_compute_seconds(3e9, 1.5e9)) == 2.0
    np.testing.assert_allclose(costs.compute_energy(1e9, 1e-28, 2.0), 1e-28 * 1e27 / 4.0)
    snr = 0.2 * 1e-10 / (N0 * 1e6)
    rate = 1e6 * np.log2(1 + snr)
    np.testing.assert_allclose(costs.rate(0.2, 1e-10, 1e6, N0), rate)
    np.testing.assert_allclose(costs.min_upload_seconds(5e6, 0.2, 1e-10, 1e6, N0), 5e6 / rate)
    power = (N0 * 1e6 / 1e-10) * (2 ** (5e6 / (1e6 * 1.5)) - 1)
    np.testing.assert_allclose(costs.upload_power(1.5, 5e6, 0.2, 1e-10, 1e6, N0), power)
    np.testing.assert_allclose(costs.upload_energy(1.5, 5e6, 0.2, 1e-10, 1e6, N0), 1.5 * power)


def test_power_and_rate_are_inverse():
    seconds = np.geomspace(0.5, 1e6, 30)
    power = costs.upload_power(seconds, 3e6, 0.2, 1e-10, 1e6, N0)
    np.testing.assert_allclose(seconds * costs.rate(power, 1e-10, 1e6, N0), 3e6, rtol=1e-12)


@pytest.mark.parametrize("nats", [1e-9, 1e-4, 0.0999, 0.1001, 0.7, 3.0, 9.0])
def test_power_curve_does_not_cancel(nats):
    curve, exponential = costs.power_curve(nats)
    np.testing.assert_allclose(curve, exact_curve(nats), rtol=1e-13)
    np.testing.assert_allclose(exponential, np.exp(nats))


def test_watts_saved_are_the_derivatives():
    channel = (0.2, 1e-10, 1e6, N0)
    slope = jax.jit(jax.grad(costs.upload_energy))(1.7, 5e6, *channel)
    nats = costs.spectral_nats(1.7, 5e6, *channel)
    np.testing.assert_allclose(costs.upload_watts_saved(nats, N0 * 1e6 / 1e-10), -slope, rtol=1e-12)
    slope = jax.jit(jax.grad(costs.compute_energy, argnums=2))(3e9, 1e-28, 1.7)
    np.testing.assert_allclose(costs.compute_watts_saved(3e9, 1e-28, 1.7), -slope, rtol=1e-14)


def test_upload_energy_is_jointly_convex():
    channel = (0.2, 1e-10, 1e6, N0)
    hessian = jax.jit(jax.hessian(lambda x: costs.upload_energy(x[0], 1e6 * x[1], *channel)))
    for point in np.random.default_rng(0).uniform([1.0, 1.0], [9.0, 8.0], (20, 2)):
        eigenvalues = np.linalg.eigvalsh(hessian(point))
        assert eigenvalues.min() >= -1e-12 * eigenvalues.max()


def test_no_nan_or_infinity_in_a_box_of_ten_decades():
    generator = np.random.default_rng(0)
    centers = np.array([1.0, 1e6, 0.1, 1e-11, 1e6, N0])
    box = centers[:, None] * 10 ** generator.uniform(-5, 5, (6, 5000))
    for fn in (costs.upload_power, costs.upload_energy):
        slopes_too = jax.vmap(jax.value_and_grad(fn, argnums=tuple(range(6))))
        values, slopes = jax.jit(slopes_too)(*box)
        assert np.isfinite(values).all()
        assert all(np.isfinite(slope).all() for slope in slopes)
    power = costs.upload_power(*box)
    assert np.all((power >= 0) & (power <= box[2] * (1 + 1e-9)))


def test_a_time_too_short_is_charged_as_the_shortest_possible():
    channel = (0.2, 1e-10, 1e6, N0)
    shortest = costs.min_upload_seconds(5e6, *channel)
    for seconds in (0.0, -1.0, 0.5 * shortest):
        np.testing.assert_allclose(costs.upload_energy(seconds, 5e6, *channel), 0.2 * shortest)
