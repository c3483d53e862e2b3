"""Names that a user registers: data sets, networks, losses, samplers and others, in a config."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fedjax_diffusion import (
    Denoiser,
    DeviceClass,
    ImageDataset,
    ddpm_loss,
    load_config,
    load_images,
    make_fleet,
    partition,
    register_dataset,
    register_fleet,
    register_loss,
    register_network,
    register_optimizer,
    register_partitioner,
    register_sampler,
    sample_ddim,
)
from fedjax_diffusion.data import LOADERS, PARTITIONS, PartitionConfig
from fedjax_diffusion.diffusion import LOSSES, SAMPLERS
from fedjax_diffusion.edge import FLEETS
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.networks import NETWORKS
from fedjax_diffusion.experiment.optimizers import OPTIMIZERS, OptimizerConfig, make_optimizer
from fedjax_diffusion.host import own_names

jax.devices()  # a registration is checked once JAX has started
TABLES = (LOADERS, PARTITIONS, FLEETS, OPTIMIZERS, NETWORKS, SAMPLERS, LOSSES)
CLOCK = DeviceClass("clock", 1e-28, 1e8, 0.05, 1, 4, 2.0, 1.0)


@pytest.fixture(autouse=True)
def forgotten():
    """Leaves the tables as they were: a page lists all names."""
    before, sources = [dict(table) for table in TABLES], dict(own_names._SOURCES)
    yield
    for table, names in zip((*TABLES, own_names._SOURCES), (*before, sources), strict=True):
        table.clear()
        table.update(names)


def load_stripes(name, split, data_dir):
    labels = np.arange(12, dtype=np.int32) % 2
    images = np.zeros((12, 4, 4, 1), np.uint8)
    images[labels == 1, :, ::2] = 255
    return ImageDataset(images, labels, 2, name)


def divide_by_turns(labels, config, seed):
    return [np.arange(k, len(labels), config.num_clients) for k in range(config.num_clients)]


def make_signs(rates):
    return optax.chain(optax.scale_by_sign(), optax.scale(-rates.learning_rate))


@dataclasses.dataclass(frozen=True)
class GainConfig:
    gain: float = 0.5
    widths: tuple[int, ...] = (1, 2)


def make_gain(config, image_shape, *, conv="stock", dtype=jnp.float32, remat=False):
    def init(key):
        return {"gain": jnp.full(image_shape, config.gain)}

    return Denoiser(init, lambda params, x_t, *rest: params["gain"][None] * x_t)


def make_double(config, image_shape, **compute):
    """Returns a network whose eps has twice the height."""
    denoiser = make_gain(config, image_shape)
    return denoiser._replace(apply=lambda params, x_t, *more: jnp.repeat(x_t, 2, 1))


def make_float(config, image_shape, **compute):
    """Returns a network with a number of Python in its parameters."""
    return make_gain(config, image_shape)._replace(init=lambda key: {"gain": config.gain})


def register_own(settings):
    """Returns ``register(name, make)`` of a network with these settings."""
    return lambda name, make: register_network(name, settings, make)


def draw_twice(key, denoise_fn, schedule, shape, *, num_steps=None, eta=0.0):
    once = functools.partial(sample_ddim, denoise_fn=denoise_fn, schedule=schedule, shape=shape)
    return (once(key) + once(key)) / 2


def robust_loss(denoiser_apply, schedule, params, batch, key, *, label_dropout=None):
    return jnp.sqrt(ddpm_loss(denoiser_apply, schedule, params, batch, key))


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
    register_network("gain", GainConfig, make_gain)
    register_sampler("twice", draw_twice)
    register_loss("robust", robust_loss)
    given = {"model.name": "gain", "model.widths": "3", "model.gain": 2}
    given |= {"sampling.sampler": "twice", "diffusion.loss": "robust"}
    config = to_run_config(load_config("digits", given))
    assert dataclasses.asdict(config.model) == {"name": "gain", "gain": 2.0, "widths": (3,)}
    assert config.model.num_classes is None
    with pytest.raises(
        ValueError, match=r"config\.model\.gane: unknown key; did you mean model.gain"
    ):
        load_config("digits", {"model.name": "gain", "model.gane": 2})


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
        (register_sampler, lambda key: key, "cannot be traced by JAX: TypeError"),
        (register_sampler, lambda *args, **more: jnp.zeros(3), "images of the given shape"),
        (register_loss, lambda *args, **more: jnp.zeros(3), "must return one float32 number"),
        (register_loss, lambda *args, **more: jnp.int32(3), "must return one float32 number"),
        (register_own(dict), make_gain, "settings must be a frozen dataclass"),
        (
            register_own(dataclasses.make_dataclass("A", [("a", int)], frozen=True)),
            make_gain,
            "default that JSON can hold for every field",
        ),
        (
            register_own(dataclasses.make_dataclass("A", [("name", str, "a")], frozen=True)),
            make_gain,
            "the name of the network is added",
        ),
        (register_own(GainConfig), lambda config, shape: None, "cannot be traced by JAX"),
        (register_own(GainConfig), make_float, r"tensor \['gain'\] is a float, no array"),
        (register_own(GainConfig), make_double, r"must return float32 eps of the shape of x_t"),
    ],
)
def test_a_wrong_part_is_refused_in_one_line(register, value, message):
    with pytest.raises(ValueError, match=message) as refusal:
        register("wrong", value)
    assert "\n" not in str(refusal.value)
    assert not any("wrong" in table for table in TABLES)


@pytest.mark.parametrize(
    ("register", "value", "name"),
    [
        (register_dataset, load_stripes, "digits"),
        (register_dataset, load_stripes, "folder"),
        (register_partitioner, divide_by_turns, "iid"),
        (register_fleet, [CLOCK], "mixed"),
        (register_optimizer, make_signs, "adam"),
        (register_own(GainConfig), make_gain, "unet"),
        (register_sampler, draw_twice, "ddim"),
        (register_loss, robust_loss, "ddpm"),
    ],
)
def test_names_of_the_package_are_refused(register, value, name):
    with pytest.raises(ValueError, match=f"'{name}' is one of the package's own"):
        register(name, value)
