"""A denoiser of your own in Flax Linen, trained by federated clients with few bits.

``make_simulator`` takes any loss. ``ddpm_loss`` is that of a diffusion model, of any network.
"""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import fedjax_diffusion as fd

NUM_CLIENTS, NUM_STEPS = 4, 50
SCHEDULE = fd.make_schedule("cosine", NUM_STEPS)


class Network(nn.Module):
    """Three dense layers on the pixels of an image and the time of its noise."""

    @nn.compact
    def __call__(self, x_t, t):
        """Predicts the noise eps [B, H, W, C] of images at step t [B]."""
        time = (t / NUM_STEPS)[:, None]
        x = jnp.concatenate([x_t.reshape(len(x_t), -1), time, time**2], -1)
        for features in (128, 128):
            x = nn.silu(nn.Dense(features)(x))
        return nn.Dense(x_t[0].size)(x).reshape(x_t.shape)


def apply(params, x_t, t, dropout_key=None, labels=None):
    """Calls the network, which has no dropout and reads no labels."""
    return Network().apply({"params": params}, x_t, t)


def main(num_rounds: int = 30, num_samples: int = 16) -> tuple[list[float], jax.Array]:
    """Returns the loss of every round and some samples [N, 8, 8, 1]."""
    dataset = fd.load_images("digits", "train")
    data = fd.make_client_data(dataset, fd.partition_iid(dataset.labels, NUM_CLIENTS, seed=0))
    loss_fn = functools.partial(fd.ddpm_loss, apply, SCHEDULE)
    batch_fn = functools.partial(fd.draw_batch, batch_size=32)
    training = fd.LocalTraining(loss_fn, batch_fn, optax.adam(2e-3), fd.LocalWork(32, 10))
    image, t = jnp.zeros((1, 8, 8, 1)), jnp.zeros(1, int)
    simulator = fd.make_simulator(lambda key: Network().init(key, image, t)["params"], training)
    key, losses = fd.seed_to_key(0), []
    state = simulator.init(key, data)
    for _ in range(num_rounds):
        given = SimpleNamespace(num_bits=np.full(NUM_CLIENTS, 6))
        state, info = simulator.step(key, state, given, np.arange(NUM_CLIENTS), data)
        losses.append(float(info.loss))
    print(f"loss {losses[0]:.3f} in the first round, {losses[-1]:.3f} in the last")
    draw = functools.partial(fd.sample_ddim, key, schedule=SCHEDULE, shape=(num_samples, 8, 8, 1))
    return losses, jax.jit(lambda params: draw(functools.partial(apply, params)))(state.params)


if __name__ == "__main__":
    main()
