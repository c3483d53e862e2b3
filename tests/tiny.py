"""The smallest run that has everything: real digits, a tiny U-Net, three clients.

``pixel_config``, of a command ``PIXELS``, is for tests of what is around the network: its own
compiles in a sixth of the time.
"""

import dataclasses
import pathlib

import jax.numpy as jnp
from ml_collections import ConfigDict

from fedjax_diffusion import load_config, register_network
from fedjax_diffusion.diffusion import Denoiser

OVERRIDES = {
    "num_rounds": 4,
    "partition.num_clients": 3,
    "diffusion.num_steps": 10,
    "model.channels": 4,
    "model.channel_multipliers": (1,),
    "local_work.batch_size": 4,
    "local_work.local_steps": 2,
    "workload.cycles_per_example": 1e8,
    "allocator.baselines": ("full_precision", "fixed_bits:8:max_frequency"),
    "sampling.every_rounds": 4,
    "sampling.num_samples": 4,
    "sampling.num_steps": 2,
    "checkpoint.every_rounds": 2,
}
FLAGS = [f"--config.{key}={value}" for key, value in OVERRIDES.items()]
PIXELS = [f"--config={pathlib.Path(__file__).with_name('pixels.py')}"]
"""Arguments of a command that plays ``pixel_config``, ``FLAGS`` for ``tiny_config``."""


def tiny_config(**overrides):
    """Returns the tiny config; overrides by dotted key, dots written as two underscores."""
    changed = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config("configs/digits.py", OVERRIDES | changed)


@dataclasses.dataclass(frozen=True)
class PixelConfig:
    """A network of two numbers a pixel; with classes it reads no label."""

    gain: float = 0.5
    num_classes: int | None = None


def make_pixels(config, image_shape, *, conv="stock", dtype=jnp.float32, remat=False):
    """Predicts eps as a multiple of x_t and a constant, of each pixel its own."""

    def init(key):
        return {
            "bias": jnp.zeros(image_shape),
            "gain": jnp.full(image_shape, config.gain, jnp.float32),
        }

    def apply(params, x_t, t, dropout_key=None, labels=None):
        return params["gain"][None] * x_t + params["bias"][None]

    return Denoiser(init, apply, config.num_classes)


register_network("pixels", PixelConfig, make_pixels)


def pixel_config(**overrides):
    """Returns the tiny config with the network of two numbers a pixel."""
    return to_pixels(tiny_config(**overrides))


def to_pixels(config):
    """Returns a config with that network."""
    config.model = ConfigDict({"name": "pixels", "gain": 0.5, "num_classes": None})
    return config
