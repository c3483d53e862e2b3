"""Tiny networks in which every layer occurs, three clients with noise for images, their rounds."""

import functools
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fedjax_diffusion.data import ImageDataset, draw_batch, make_client_data
from fedjax_diffusion.diffusion import (
    Denoiser,
    UNetConfig,
    ddpm_loss,
    make_conv,
    make_denoiser,
    make_schedule,
)
from fedjax_diffusion.diffusion.ddpm import NO_LABEL
from fedjax_diffusion.diffusion.layers import (
    ResidualBlock,
    SelfAttention,
    average_pool,
    conv_3x3,
    dense,
    label_embedding,
    nearest_resize,
    time_embedding,
)
from fedjax_diffusion.experiment.compute import make_mesh
from fedjax_diffusion.federated import ClientMapping, LocalTraining, LocalWork
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.simulator import make_simulator

KEY = seed_to_key(0)
IMAGE_SHAPE = (8, 8, 1)
BATCH_SIZE = 4
SCHEDULE = make_schedule("linear", 10)
NUM_CLIENTS = 3
ONE_LEVEL = {"channel_multipliers": (1,), "attention_resolutions": ()}
"""Options of ``network`` for one that is compiled sooner; its middle has attention still."""
COHORT = np.arange(NUM_CLIENTS, dtype=np.int32)


def network(conv="stock", dtype="float32", **options):
    """Returns two levels with attention; ``options`` are of ``UNetConfig`` and ``remat``."""
    remat = options.pop("remat", False)
    sizes = {
        "channels": 4,
        "channel_multipliers": (1, 1),
        "num_res_blocks": 1,
        "attention_resolutions": (4,),
    }
    config = UNetConfig(**(sizes | options))
    return make_denoiser(config, IMAGE_SHAPE, conv=conv, dtype=jnp.dtype(dtype), remat=remat)


class OneBlock(nn.Module):
    """The layers of a U-Net of two levels, each once, on the lower level; labels on demand."""

    conv: str
    dtype: str
    remat: bool
    dropout: float
    num_classes: int | None

    @nn.compact
    def __call__(self, x_t, t, deterministic=True, labels=None):
        dtype, conv = jnp.dtype(self.dtype), make_conv(self.conv)
        block = nn.remat(ResidualBlock, static_argnums=3) if self.remat else ResidualBlock
        embedding = dense(8, "embedding", dtype)(time_embedding(t, 4).astype(dtype))
        if self.num_classes is not None:
            labels = jnp.full(t.shape, NO_LABEL) if labels is None else labels
            embedding += label_embedding(labels, self.num_classes, 8, dtype)
        h = average_pool(conv_3x3(4, "conv_in", conv=conv, dtype=dtype)(x_t))
        residual = block(4, 1, self.dropout, conv, dtype, name="block")
        h = residual(h, embedding, deterministic)
        h = nearest_resize(SelfAttention(1, dtype, name="attention")(h))
        return conv_3x3(1, "conv_out", conv=conv, dtype=dtype)(h).astype(jnp.float32)


def one_block(conv="stock", dtype="float32", remat=False, dropout=0.0, num_classes=None):
    """Returns a network of one residual block with attention: traced in a fraction of a U-Net's."""
    module = OneBlock(conv, dtype, remat, dropout, num_classes)
    t = jax.ShapeDtypeStruct((1,), jnp.int32)

    def init(key):
        x_t = jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), jnp.float32)
        return module.lazy_init(key, x_t, t)["params"]

    def apply(params, x_t, t, dropout_key=None, labels=None):
        rngs = None if dropout_key is None else {"dropout": dropout_key}
        return module.apply({"params": params}, x_t, t, dropout_key is None, labels, rngs=rngs)

    return Denoiser(init, apply, num_classes)


def loss_of(denoiser):
    label_dropout = None if denoiser.num_classes is None else 0.1
    return functools.partial(ddpm_loss, denoiser.apply, SCHEDULE, label_dropout=label_dropout)


def simulator_of(
    denoiser,
    *,
    num_devices=1,
    client_optimizer=None,
    client_map="map",
    chunk_size=None,
    **options,
):
    """Returns a simulator whose clients take two local steps."""
    training = LocalTraining(
        loss_of(denoiser),
        functools.partial(draw_batch, batch_size=BATCH_SIZE),
        client_optimizer or optax.flatten(optax.adam(1e-3)),  # as a run has it
        LocalWork(BATCH_SIZE, local_steps=2),
    )
    mapping = ClientMapping(client_map, chunk_size, make_mesh(num_devices))
    return make_simulator(denoiser.init, training, mapping=mapping, **options)


@functools.cache
def images():
    """Returns noise, four images for each client."""
    rng = np.random.default_rng(0)
    num_images = 4 * NUM_CLIENTS
    pixels = rng.integers(0, 256, (num_images, *IMAGE_SHAPE), np.uint8)
    return ImageDataset(pixels, np.arange(num_images, dtype=np.int32) % 2, 2, "noise")


def client_data():
    """Returns the clients' data, on the default device."""
    dataset = images()
    return make_client_data(dataset, np.split(np.arange(len(dataset.labels)), NUM_CLIENTS))


def play(simulator, state, data, num_bits):
    """Returns the next state and what the round measured; ``num_bits`` of each client."""
    allocation = SimpleNamespace(num_bits=np.asarray(num_bits, np.int32))
    return simulator.step(KEY, state, allocation, COHORT, data)


def shapes_of(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
