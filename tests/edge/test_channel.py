import jax
import numpy as np
import pytest

from fedjax_diffusion.edge import draw_channel, make_fleet, path_loss_db
from fedjax_diffusion.edge.channel import MIN_FADING_POWER
from fedjax_diffusion.keys import seed_to_key

NUM_CLIENTS = 20_000


def fleet(num_clients, max_distance_meters=100.0):
    return make_fleet(
        num_clients,
        seed=0,
        fleet="uniform",
        min_distance_meters=100.0,
        max_distance_meters=max_distance_meters,
        bandwidth_hz=1e6,
    )


def draw(seed=0, round=0, devices=None, shadowing_db=0.0, fading="rayleigh"):
    devices = fleet(8) if devices is None else devices
    key = seed_to_key(seed)
    return draw_channel(key, round, devices, shadowing_db=shadowing_db, fading=fading).gain


def test_path_loss_values():
    np.testing.assert_allclose(path_loss_db([1000.0, 100.0, 500.0]), [128.1, 90.5, 116.7813], 1e-6)


def test_without_randomness_the_gain_is_the_path_loss():
    devices = fleet(NUM_CLIENTS, max_distance_meters=400.0)
    gain = draw(devices=devices, fading="none")
    assert gain.dtype == np.float64
    np.testing.assert_allclose(-10 * np.log10(gain), path_loss_db(devices.distance_meters))


def test_rayleigh_power_is_a_unit_exponential():
    power = draw(devices=fleet(NUM_CLIENTS)) * 10 ** (path_loss_db(100.0) / 10)
    assert power.min() >= MIN_FADING_POWER * (1 - 1e-9)
    # Mean 1 and variance 1; the median is ln 2.
    assert abs(power.mean() - 1) < 5 / np.sqrt(NUM_CLIENTS)
    share = np.mean(power < np.log(2))
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(NUM_CLIENTS)


def test_shadowing_is_normal_in_decibels_and_constant_over_rounds():
    devices = fleet(NUM_CLIENTS)
    first, second = (
        draw(devices=devices, round=n, shadowing_db=8.0, fading="none") for n in (0, 5)
    )
    np.testing.assert_array_equal(first, second)
    shadowing_db = -10 * np.log10(first) - path_loss_db(100.0)
    assert abs(shadowing_db.mean()) < 5 * 8 / np.sqrt(NUM_CLIENTS)
    assert abs(shadowing_db.std() / 8 - 1) < 5 / np.sqrt(2 * NUM_CLIENTS)


def test_a_client_fades_alike_in_every_fleet():
    np.testing.assert_array_equal(draw(devices=fleet(8)), draw(devices=fleet(NUM_CLIENTS))[:8])


def test_rounds_seeds_and_clients_fade_differently():
    base = draw()
    assert len(set(base.tolist())) == len(base)
    assert np.all(base != draw(round=1))
    assert np.all(base != draw(seed=1))
    np.testing.assert_array_equal(base, draw())


def test_gain_does_not_depend_on_float64(float64):
    with jax.enable_x64(False):
        expected = draw()
    np.testing.assert_allclose(draw(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shadowing_db": -1.0}, r"channel.shadowing_db must be a number in \[0, 300\], got -1.0"),
        ({"fading": "rice"}, "channel.fading must be one of rayleigh, none, got 'rice'"),
    ],
)
def test_bad_arguments_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        draw(**fields)
