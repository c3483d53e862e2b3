"""Data sets, partitioners, fleets and optimizers that a user registers, in a config."""

import jax
import numpy as np
import optax
import pytest

from fedjax_diffusion import (
    DeviceClass,
    ImageDataset,
    load_images,
    make_fleet,
    partition,
    register_dataset,
    register_fleet,
    register_optimizer,
    register_partitioner,
)
from fedjax_diffusion.data import LOADERS, PARTITIONS, PartitionConfig
from fedjax_diffusion.edge import FLEETS
from fedjax_diffusion.experiment.optimizers import OPTIMIZERS, OptimizerConfig, make_optimizer

jax.devices()  # a registration is checked once JAX has started
CLOCK = DeviceClass("clock", 1e-28, 1e8, 0.05, 1, 4, 2.0, 1.0)


def load_stripes(name, split, data_dir):
    labels = np.arange(12, dtype=np.int32) % 2
    images = np.zeros((12, 4, 4, 1), np.uint8)
    images[labels == 1, :, ::2] = 255
    return ImageDataset(images, labels, 2, name)


def divide_by_turns(labels, config, seed):
    return [np.arange(k, len(labels), config.num_clients) for k in range(config.num_clients)]


def make_signs(rates):
    return optax.chain(optax.scale_by_sign(), optax.scale(-rates.learning_rate))


def test_own_names_are_used_like_those_of_the_package():
    register_dataset("stripes", load_stripes)
    dataset = load_images("stripes", "train")
    assert dataset.name == "stripes"
    register_partitioner("by_turns", divide_by_turns)
    parts = partition(dataset.labels, PartitionConfig("by_turns", num_clients=5), seed=0)
    assert [part.tolist() for part in parts][:2] == [[0, 5, 10], [1, 6, 11]]
    register_fleet("clocks", [CLOCK])
    place = {"min_distance_meters": 1.0, "max_distance_meters": 9.0, "bandwidth_hz": 1e6}
    assert (make_fleet(3, fleet="clocks", seed=0, **place).max_frequency_hz == 1e8).all()
    register_optimizer("signs", make_signs)
    optimizer = make_optimizer(OptimizerConfig("signs", learning_rate=0.5))
    updates, _ = optimizer.update({"w": np.float32([3.0, -2.0])}, optimizer.init({}))
    assert updates["w"].tolist() == [-0.5, 0.5]


def test_a_loader_that_returns_no_data_set_is_named():
    register_dataset("nothing", lambda name, split, data_dir: None)
    with pytest.raises(
        ValueError, match=r"data\.name=nothing: its loader must return an ImageDataset"
    ):
        load_images("nothing", "train")


@pytest.mark.parametrize(
    ("register", "value", "message"),
    [
        (register_dataset, lambda: None, r"must be a function of \(name, split, data_dir\)"),
        (register_partitioner, lambda labels, config, seed: [labels], "must return 4 arrays"),
        (
            register_partitioner,
            lambda labels, config, seed: [np.arange(9)] * 4,
            "each example to exactly one client",
        ),
        (register_fleet, [], "one or more classes"),
        (register_fleet, [CLOCK, CLOCK], "different names"),
        (register_fleet, [CLOCK.__class__("a", 1, 1, 1, 8, 4, 1, 1)], "min_bits is above max_bits"),
        (register_fleet, [CLOCK.__class__("a", 1, -1, 1, 4, 8, 1, 1)], "must be above 0"),
        (register_fleet, [CLOCK.__class__("a", 1, 1, 1, 4, 20, 1, 1)], r"must be 1\.\.16 or 32"),
        (register_optimizer, lambda rates: None, "cannot be traced by JAX"),
        (register_optimizer, lambda rates: optax.scale(np.inf), "must return finite updates"),
    ],
)
def test_a_wrong_part_is_refused_in_one_line(register, value, message):
    with pytest.raises(ValueError, match=message) as refusal:
        register("wrong", value)
    assert "\n" not in str(refusal.value)
    assert not any("wrong" in table for table in (LOADERS, PARTITIONS, FLEETS, OPTIMIZERS))


@pytest.mark.parametrize(
    ("register", "value", "name"),
    [
        (register_dataset, load_stripes, "digits"),
        (register_dataset, load_stripes, "folder"),
        (register_partitioner, divide_by_turns, "iid"),
        (register_fleet, [CLOCK], "mixed"),
        (register_optimizer, make_signs, "adam"),
    ],
)
def test_names_of_the_package_are_refused(register, value, name):
    with pytest.raises(ValueError, match=f"'{name}' is one of the package's own"):
        register(name, value)
