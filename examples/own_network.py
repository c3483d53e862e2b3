"""A denoiser of your own, chosen by its name, with settings of its own. A plug-in.

fedjax-diffusion run --workdir=runs/dense --config.model.name=dense --config.model.width=64
    --config.plugins="('examples/own_network.py',)" --config.num_rounds=5

``sample``, ``evaluate``, ``sweep`` and all other commands know the name too. A network that is only
to be trained needs no name: see own_network_linen.py.
"""

import dataclasses
from typing import Annotated

import jax.numpy as jnp
from flax import linen as nn

from fedjax_diffusion import Denoiser, register_network
from fedjax_diffusion.values import Range, check_fields


@dataclasses.dataclass(frozen=True)
class DenseConfig:
    """Sizes of dense layers.

    Attributes:
      width: features of a hidden layer, in 1..4096.
      depth: hidden layers, in 1..16.
    """

    width: Annotated[int, Range(1, 4096)] = 128
    depth: Annotated[int, Range(1, 16)] = 2

    def __post_init__(self):
        check_fields(self, "model")


class Dense(nn.Module):
    """Dense layers on the pixels of an image and the time of its noise."""

    config: DenseConfig

    @nn.compact
    def __call__(self, x_t, t):
        """Predicts the noise eps [B, H, W, C] of images at step t [B]."""
        time = (t / 1000)[:, None]
        x = jnp.concatenate([x_t.reshape(len(x_t), -1), time, time**2], -1)
        for _ in range(self.config.depth):
            x = nn.silu(nn.Dense(self.config.width)(x))
        return nn.Dense(x_t[0].size, kernel_init=nn.initializers.zeros)(x).reshape(x_t.shape)


def make_dense(config, image_shape, *, conv, dtype, remat):  # these three change its speed alone
    network, image, t = Dense(config), jnp.zeros((1, *image_shape)), jnp.zeros(1, int)

    def apply(params, x_t, t, dropout_key=None, labels=None):
        return network.apply({"params": params}, x_t, t)

    return Denoiser(lambda key: network.init(key, image, t)["params"], apply)


register_network("dense", DenseConfig, make_dense)
