import numpy as np
import pytest

from fedjax_diffusion.edge import FLEETS, describe_fleet, make_fleet

PLACE = {"min_distance_meters": 50.0, "max_distance_meters": 500.0, "bandwidth_hz": 1e6}


@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("num_clients", [1, 2, 7, 100])
def test_shares_are_met_to_within_one_device(fleet, num_clients):
    devices = make_fleet(num_clients, seed=0, fleet=fleet, **PLACE)
    shares = np.array([device_class.share for device_class in FLEETS[fleet]])
    counts = np.bincount(devices.class_index, minlength=len(shares))
    assert counts.sum() == num_clients
    assert np.all(np.abs(counts - num_clients * shares / shares.sum()) < 1)


def test_classes_bring_their_limits_and_demands():
    devices = make_fleet(50, seed=3, fleet="mixed", **PLACE)
    for field in ("max_frequency_hz", "max_power_watts", "min_bits", "max_bits", "flops_per_cycle"):
        expected = [getattr(FLEETS["mixed"][i], field) for i in devices.class_index]
        np.testing.assert_array_equal(getattr(devices, field), expected)


def test_mixed_demands_differ_and_average_below_eight_bits():
    min_bits = make_fleet(100, seed=0, fleet="mixed", **PLACE).min_bits
    assert len(set(min_bits.tolist())) >= 3
    assert min_bits.mean() < 6


def test_bits_can_be_set_for_everybody():
    devices = make_fleet(9, seed=0, fleet="mixed", min_bits=3, max_bits=32, **PLACE)
    assert set(devices.min_bits) == {3}
    assert set(devices.max_bits) == {32}


def test_places_are_uniform_over_the_ring():
    distance = make_fleet(20_000, seed=1, fleet="uniform", **PLACE).distance_meters
    assert distance.min() >= 50
    assert distance.max() <= 500
    # r^2 is uniform on [50^2, 500^2]: its mean has a known standard deviation.
    squares, width = distance**2, 500**2 - 50**2
    assert abs(squares.mean() - (500**2 + 50**2) / 2) < 5 * width / np.sqrt(12 * len(distance))


def test_depends_on_the_seed_alone():
    a, b, other = (make_fleet(8, seed=seed, fleet="mixed", **PLACE) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.distance_meters, b.distance_meters)
    np.testing.assert_array_equal(a.class_index, b.class_index)
    assert np.all(a.distance_meters != other.distance_meters)


def test_describe_counts_every_client():
    rows = describe_fleet(make_fleet(10, seed=0, fleet="mixed", **PLACE))
    assert [(row.name, row.num_clients) for row in rows] == [
        ("sensor", 4),
        ("phone", 4),
        ("laptop", 2),
    ]
    assert rows[0].min_bits == (2, 2)
    assert rows[0].max_frequency_ghz == 1.0
    assert all(50 <= row.distance_meters[0] <= row.distance_meters[1] <= 500 for row in rows)


def test_describe_leaves_out_empty_classes():
    assert [row.name for row in describe_fleet(make_fleet(1, seed=0, fleet="mixed", **PLACE))] == [
        "sensor"
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_clients": 0}, "num_clients must be a whole number in 1..2147483647, got 0"),
        ({"fleet": "tablets"}, "devices.fleet must be one of mixed, uniform, got 'tablets'"),
        ({"min_distance_meters": -1.0}, r"min_distance_meters must be a number in \[0.001, 1e9\]"),
        ({"max_distance_meters": 10.0}, "max_distance_meters must be at least devices.min_dist"),
        (
            {"bandwidth_hz": 0.0},
            r"devices.bandwidth_hz must be a number in \[0.001, 1e15\], got 0.0",
        ),
        ({"min_bits": 17}, "devices.min_bits must be 1..16 or 32 or None, got 17"),
        ({"max_bits": 0}, "devices.max_bits must be 1..16 or 32 or None, got 0"),
    ],
)
def test_bad_arguments_are_named(fields, message):
    arguments = {"num_clients": 4, "seed": 0, "fleet": "mixed"} | PLACE | fields
    with pytest.raises(ValueError, match=message):
        make_fleet(**arguments)
