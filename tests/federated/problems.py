"""A least-squares problem for tests: federated training knows nothing of diffusion.

Random numbers are most of what a small round compiles, so batches and losses read their keys'
words; ``draw_batch`` itself is tested in ``tests/data/test_clients.py``.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fedjax_diffusion.data import ImageDataset, make_client_data, uint8_to_images
from fedjax_diffusion.federated import LocalTraining, LocalWork
from fedjax_diffusion.types import Batch

NUM_CLIENTS = 5
BATCH_SIZE = 4
IMAGE_SHAPE = (2, 2, 1)


def init_params(key):
    return {"w": jax.random.normal(key, (4, 3)), "b": jnp.full((3,), 0.0)}  # of a weak type


jit_init_params = jax.jit(init_params)


def key_word(key):
    """Returns a number in 0..2^24 - 1, exact in float32."""
    return (jax.random.key_data(key)[-1] >> 8).astype(jnp.int32)


def batch_fn(key, data, row, step):
    """Returns examples of a client that follow each other, from a random one on."""
    places = key_word(key) + step * BATCH_SIZE + jnp.arange(BATCH_SIZE)
    chosen = data.indices[row][places % data.num_examples[row]]
    return Batch(uint8_to_images(data.images[chosen]), data.labels[chosen])


def loss_fn(params, batch, key):
    """Predicts a one-hot label; a shift makes the loss depend on its key."""
    x = batch.images.reshape(batch.images.shape[0], -1)
    x = x + 0.01 * (key_word(key) / 2**24)
    target = jax.nn.one_hot(batch.labels, 3)
    return jnp.mean(jnp.square(x @ params["w"] + params["b"][None] - target))


WORK = LocalWork(BATCH_SIZE, local_steps=2)
TRAINING = LocalTraining(loss_fn, batch_fn, optax.sgd(0.1), WORK)


_rng = np.random.default_rng(1)
GOALS = {
    name: _rng.normal(size=(NUM_CLIENTS, *shape)).astype(np.float32)
    for name, shape in (("w", (4, 3)), ("b", (3,)))
}


def train_halfway(shared, inputs):
    """Trains without data: goes halfway to the client's goal. Halves are exact, so are bits."""

    def move(w, goals):
        moved = w + (jnp.asarray(goals)[inputs.client] - w) / 2
        return jnp.where(inputs.num_steps > 0, moved, w)

    return jax.tree.map(move, shared.params, GOALS), jnp.float32(1)


def go_halfway(params, client):
    """Returns the same model, made with NumPy."""
    params = jax.tree.map(np.asarray, params)
    return jax.tree.map(lambda w, goals: w + (goals[client] - w) / 2, params, GOALS)


@functools.cache
def make_data():
    """Five clients of 3, 5, 7, 9 and 11 random images."""
    rng = np.random.default_rng(0)
    sizes = [3, 5, 7, 9, 11]
    num_examples = sum(sizes)
    dataset = ImageDataset(
        images=rng.integers(0, 256, (num_examples, *IMAGE_SHAPE), dtype=np.uint8),
        labels=rng.integers(0, 3, num_examples).astype(np.int32),
        num_classes=3,
        name="random",
    )
    parts = np.split(np.arange(num_examples), np.cumsum(sizes)[:-1])
    return make_client_data(dataset, parts)
