"""Fleets of CSV files: their rows are the devices, and part of a run's settings."""

import json
import pathlib
import re

import numpy as np
import pytest

from fedjax_diffusion.edge import FLEET_COLUMNS, FLEETS, FleetConfig, make_fleet
from fedjax_diffusion.edge.fleet_csv import read_fleet
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.scenario import build_scenario
from fedjax_diffusion.runs.changes import check_changes
from fedjax_diffusion.study.folder import build_study
from fedjax_diffusion.sweep.identity import hash_config
from fedjax_diffusion.sweep.points import expand
from tests.each import check_each
from tests.tiny import tiny_config

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "devices.md").read_text()
EXAMPLE = re.search(r"```csv\n(.*?)```", PAGE, re.DOTALL)[1]
PLACE = {"min_distance_meters": 50.0, "max_distance_meters": 500.0, "bandwidth_hz": 1e6}
THREE = "class,count,distance_meters\nphone,2,100\nsensor,1,250\n"


def fleet_of(csv, num_clients, **fields):
    return make_fleet(num_clients, **{"seed": 0, "fleet": "mixed", "csv": csv} | PLACE | fields)


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="fleet.csv"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write_file


def test_the_example_of_the_page_is_a_fleet(write):
    devices = fleet_of(write(EXAMPLE), 4)
    assert devices.class_names == ("sensor", "laptop")
    np.testing.assert_array_equal(devices.class_index, [0, 0, 0, 1])
    np.testing.assert_array_equal(devices.distance_meters, [120, 120, 120, 300])
    np.testing.assert_array_equal(devices.max_frequency_hz, [0.8e9, 0.8e9, 0.8e9, 2.2e9])
    np.testing.assert_array_equal(devices.max_bits, [8, 8, 8, 16])
    assert devices.min_bits.dtype == devices.class_index.dtype == np.int32
    np.testing.assert_array_equal(devices.flops_per_cycle, [4, 4, 4, 32])
    np.testing.assert_array_equal(devices.bandwidth_hz, [1e6] * 4)


def test_the_page_names_every_column_and_every_class():
    for name in FLEET_COLUMNS:
        assert f"`{name}`" in PAGE, name
    for fleet, classes in FLEETS.items():
        for c in classes:
            row = f"| `{fleet}` | `{c.name}` | {c.share} | {c.max_frequency_hz / 1e9} |"
            row += f" {c.max_power_watts} | {c.min_bits} to {c.max_bits} | {c.flops_per_cycle:g} |"
            assert row in PAGE


def test_a_class_of_ones_own_needs_all_its_columns():
    names = [name for name in FLEET_COLUMNS if name not in ("class", "count")]
    values = np.arange(1.0, len(names) + 1)
    text = f"{','.join(['class', *names])}\ndrone,{','.join(map(str, values))}\n"
    devices = fleet_of(text, 1)
    assert devices.class_names == ("drone",)
    for name, value in zip(names, values, strict=True):
        assert getattr(devices, name).tolist() == [value], name
    with pytest.raises(
        ValueError, match=r"no column max_power_watts, and devices\.fleet = 'mixed'"
    ):
        fleet_of("class,max_frequency_hz,effective_capacitance\ndrone,1e9,1e-28\n", 1)


def test_places_that_are_not_given_are_drawn():
    text = "max_power_watts\n0.1\n0.1\n0.3\n"
    read, again, other = (fleet_of(text, 3, fleet="uniform", seed=seed) for seed in (0, 0, 1))
    assert ((read.distance_meters > 50) & (read.distance_meters < 500)).all()
    np.testing.assert_array_equal(read.distance_meters, again.distance_meters)
    assert (read.distance_meters != other.distance_meters).all()
    np.testing.assert_array_equal(read.max_power_watts, [0.1, 0.1, 0.3])
    assert read.class_names == ("device",)


def test_bits_that_are_set_hold_for_everybody():
    text = "class,min_bits\nphone,3\nsensor,5\n"
    assert fleet_of(text, 2).min_bits.tolist() == [3, 5]
    assert fleet_of(text, 2, min_bits=7).min_bits.tolist() == [7, 7]


def test_equal_fleets_are_equal_texts(write):
    """Notation, order of columns, name of the file and blank lines do not matter."""
    other = "distance_meters , class,count\n\n1e2,phone,2.0\n250.0, sensor,1\n"
    rows = read_fleet(write(THREE))
    assert rows == read_fleet(write(other, "other.csv")) == read_fleet(rows)
    assert rows != read_fleet(THREE.replace("250", "251"))


WRONG = [
    ("class,gain\nphone,1\n", "line 1, column 2: unknown name 'gain': must be one of class, "),
    ("class,count\nphone,0\n", "line 2 (device 0): count = 0: must be a whole number >= 1"),
    ("class,count\nphone,1.5\n", "line 2 (device 0): count = 1.5: must be a whole number"),
    ("class,count\n,1\n", "line 2 (device 0): class = '': must be a word that can be printed"),
    ("max_bits\n20\n", "line 2 (device 0): max_bits = 20: must be 1..16 or 32"),
    ("min_bits\n", "has a header but no devices: one row per device must follow"),
    (
        "distance_meters\n-3\n",
        "line 2 (device 0): distance_meters = -3: must be > 0 and finite",
    ),
    (THREE, "has 3 devices, and partition.num_clients = 8; set partition.num_clients to 3"),
    ("class,count\nphone,1e9\n", "has 1000000000 devices, and partition.num_clients = 8"),
]


def test_what_is_wrong_is_said_in_one_line():
    def check(text, message):
        with pytest.raises(ValueError, match=re.escape(f"devices.csv: {message}")) as caught:
            fleet_of(text, 8)
        assert len(str(caught.value).splitlines()) == 1

    check_each(WRONG, check)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"devices\.csv: .*none\.csv: cannot be read: No such"):
        FleetConfig("mixed", 50.0, 500.0, 1e6, None, None, csv=str(tmp_path / "none.csv"))
    with pytest.raises(ValueError, match=r"devices\.csv must be the path of a CSV file or None"):
        FleetConfig("mixed", 50.0, 500.0, 1e6, None, None, csv="")


def test_the_settings_hold_the_rows(write, tmp_path):
    path = write(THREE)
    config = to_run_config(tiny_config(devices__csv=path))
    saved = json.loads(json.dumps(config.to_dict()))
    pathlib.Path(path).unlink()
    assert to_run_config(saved) == config
    devices = build_scenario(to_run_config(saved), np.array([5, 6, 7]), (8, 8, 1)).devices
    np.testing.assert_array_equal(devices.distance_meters, [100, 100, 250])

    write(THREE.replace("250", "260"))
    changed = to_run_config(tiny_config(devices__csv=path))
    assert len({hash_config(each) for each in (config, changed, to_run_config(tiny_config()))}) == 3
    difference = r"\(devices.csv, line 3: 'sensor,1,250.0' there, 'sensor,1,260.0' here\)"
    with pytest.raises(ValueError, match=f"holds a run of another config {difference}; choose"):
        check_changes(tmp_path, config.flatten(), changed)
    check_changes(
        tmp_path, config.flatten(), to_run_config(tiny_config(devices__csv=config.devices.csv))
    )


def test_cycles_by_device_come_before_those_for_all():
    text = "class,cycles_per_example\nphone,1e6\nphone,2e6\nsensor,3e6\n"
    config = to_run_config(tiny_config(devices__csv=text, workload__cycles_per_example=7e7))
    cycles = build_scenario(config, np.array([5, 5, 5]), (8, 8, 1)).workload.compute_cycles
    images = config.local_work.local_steps * config.local_work.batch_size
    np.testing.assert_allclose(cycles, images * np.array([1e6, 2e6, 3e6]))


def test_a_study_takes_the_devices(write):
    scenario, _ = build_study(tiny_config(devices__csv=write(THREE)))
    np.testing.assert_array_equal(scenario.devices.distance_meters, [100, 100, 250])


def test_a_sweep_over_files(write):
    paths = [write(THREE, "near.csv"), write(THREE.replace("250", "400"), "far.csv")]
    config = tiny_config(devices__csv=paths[0])
    points = expand(config, lambda h: [{"devices.csv": path} for path in paths])
    assert [point.config.devices.csv for point in points] == [read_fleet(path) for path in paths]
    assert len({point.hash for point in points}) == len({point.label for point in points}) == 2
    assert all(re.fullmatch(r"csv-[0-9a-f]{8}", point.label) for point in points)
