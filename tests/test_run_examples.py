"""The examples of runs and networks: short, and what they print is true, at small size."""

import importlib.util
import math
import pathlib

import numpy as np
import pytest

from fedjax_diffusion import load_config
from tests.tiny import OVERRIDES, to_pixels

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "examples"
MAX_LINES = 60
SMALL = {"num_rounds": 2, "allocator.baselines": ("full_precision",), "partition.num_clients": 5}
"""Equal numbers of clients share programs; the fleet of an example has five."""


def load_small(name, overrides):
    """Loads a config as an example does, with small sizes and a network that compiles soon."""
    return to_pixels(load_config(name, OVERRIDES | SMALL | overrides))


def play(name, *arguments, **settings):
    """Returns what the main function of an example returns."""
    spec = importlib.util.spec_from_file_location(f"_example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if hasattr(module, "load_config"):
        module.load_config = load_small
    return module.main(*arguments, **settings)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_fed_avg_of_a_quadratic_goes_to_the_weighted_mean():
    distances = play("fed_avg_quadratic", 60)
    assert distances[32] < 1e-5
    assert distances[32] < distances[8] < distances[4] < distances[2]


def test_own_networks_learn():
    for name, num_rounds in (("own_network_nnx", 12), ("own_network_linen", 8)):
        result = play(name, num_rounds)
        losses = result if name == "own_network_nnx" else result[0]
        assert len(losses) == num_rounds
        assert losses[-1] < 0.8 * losses[0]
    images = np.asarray(result[1])
    assert images.shape == (16, 8, 8, 1)
    assert np.isfinite(images).all()


def test_own_pictures_are_the_data_of_a_run(tmp_path):
    settings = {"num_rounds": 2, "partition.num_clients": 3}  # as in other runs
    records = play("own_pictures", str(tmp_path / "run"), **settings)
    assert [record["participants"] for record in records] == [[*range(3)]] * 2


def test_own_schedule_gives_more_bits_later(tmp_path):
    rounds = play("own_schedule", str(tmp_path / "run"), num_rounds=2)
    first, last = (np.mean([bits for bits in round if bits]) for round in rounds)
    assert first < last


def test_own_fleet_has_its_two_kinds(tmp_path):
    joules = play("own_fleet", str(tmp_path / "run"), num_rounds=2)
    assert joules.keys() == {"camera", "gateway"}
    assert all(math.isfinite(mean) and mean > 0 for mean in joules.values())


def test_a_start_from_weights_begins_with_a_smaller_loss(tmp_path):
    settings = {"num_rounds": 3, "client_optimizer.learning_rate": 0.05}
    new, started = play("start_from_weights", str(tmp_path), **settings)
    assert started < new
