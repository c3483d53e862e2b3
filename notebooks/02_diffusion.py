# %% [markdown]
# # Diffusion, and its federated training
#
# A diffusion model learns to remove noise from images. Then it makes images from pure noise, step
# by step. This notebook shows both, with clients that keep their images for themselves. It compares
# clients that have all digits with clients that have two or three digits each.
#
# The network is a small one of dense layers on images of 8x8 pixels, to be fast. A U-Net is in
# notebook 01.
#
# | CPU | T4 | TPU |
# |---|---|---|
# | 0.6 minutes | not measured | not measured |
#
# CPU: processor time beside other work, AMD EPYC, jax 0.10.2, 2026-11-27.

# %%
import importlib.util
import pathlib
import subprocess
import sys

if importlib.util.find_spec("fedjax_diffusion") is None:
    # From your clone of the repository: around this notebook, or in a folder next to it.
    here = pathlib.Path.cwd()
    places = [here, *here.parents, *here.glob("*")]
    clones = [place for place in places if (place / "notebooks/01_quickstart.ipynb").exists()]
    if not clones:
        raise FileNotFoundError(f"first git clone the repository into {here}")
    # pip keeps an installed JAX that is new enough: 0.10.2 or later.
    keep = ["--upgrade-strategy", "only-if-needed"]
    install = [sys.executable, "-m", "pip", "install", "--quiet", *keep]
    subprocess.run([*install, f"{clones[0]}[notebooks]"], check=True)

# %%
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from fedjax_diffusion import (
    Batch,
    LocalTraining,
    LocalWork,
    ServerUpdate,
    ddpm_loss,
    draw_batch,
    load_images,
    make_client_data,
    make_schedule,
    make_simulator,
    partition_iid,
    partition_shards,
    sample_ddim,
    seed_to_key,
)

print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, {jax.device_count()} device(s)")

# %% tags=["parameters"]
NUM_ROUNDS, NUM_CLIENTS, NUM_HIDDEN = 40, 5, 256

# %% [markdown]
# ## Noise, step by step
#
# The image after step `t` is `sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps`: a part of the
# image `x_0`, and a part of standard normal noise `eps`. After the last step it is noise alone.

# %%
train, test = load_images("digits", "train"), load_images("digits", "test")
schedule = make_schedule("cosine", 100)
signal, noise = np.sqrt(schedule.alpha_bars), np.sqrt(schedule.noise_powers)
x_0 = train.images[:4, ..., 0] / 127.5 - 1
eps = np.random.default_rng(0).normal(size=x_0.shape)
shown = (0, 25, 50, 75, 99)
figure, axes = plt.subplots(4, len(shown), figsize=(6, 5), layout="constrained")
for row, t in enumerate(shown):
    for axis, image in zip(axes[:, row], signal[t] * x_0 + noise[t] * eps, strict=True):
        axis.imshow(image, cmap="gray", vmin=-2, vmax=2)
        axis.set(xticks=[], yticks=[])
    axes[0, row].set(title=f"t = {t}")

# %% [markdown]
# ## The network and the loss
#
# The network is given the noisy image and `t`, and predicts the noise. The loss is the mean squared
# error of this prediction (`ddpm_loss`): 1 for a network that always answers 0.

# %%
PIXELS = 64


def init_params(key):
    """Returns the first parameters; the output is 0 at first."""
    keys = jax.random.split(key, 3)
    sizes = [(PIXELS + 16, NUM_HIDDEN), (NUM_HIDDEN, NUM_HIDDEN), (NUM_HIDDEN, PIXELS)]
    scales = [np.sqrt(2 / sizes[0][0]), np.sqrt(2 / sizes[1][0]), 0.0]
    return {
        f"layer_{number}": scale * jax.random.normal(key, size)
        for number, (key, size, scale) in enumerate(zip(keys, sizes, scales, strict=True))
    }


def predict_noise(params, x_t, t, dropout_key=None, labels=None):
    """Returns the predicted noise of images [B, 8, 8, 1] at the steps t [B]."""
    phase = t[:, None] / schedule.num_steps * 2.0 ** jnp.arange(8)[None]
    time = jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=1)
    hidden = jnp.concatenate([x_t.reshape(len(x_t), PIXELS), time], axis=1)
    hidden = jax.nn.silu(hidden @ params["layer_0"])
    hidden = hidden + jax.nn.silu(hidden @ params["layer_1"])
    return (hidden @ params["layer_2"]).reshape(x_t.shape)


loss_fn = partial(ddpm_loss, predict_noise, schedule)

# %% [markdown]
# ## The clients
#
# `partition_iid` gives every client a random share of all images. `partition_shards` sorts the
# images by their digit and gives each client two pieces: it has few digits and never sees the
# others. All messages have 8 bits a number.

# %%
partitions = {
    "all digits": partition_iid(train.labels, NUM_CLIENTS, seed=0),
    "few digits": partition_shards(train.labels, NUM_CLIENTS, shards_per_client=2, seed=0),
}
num_slots = max(len(part) for parts in partitions.values() for part in parts)
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for axis, (name, parts) in zip(axes, partitions.items(), strict=True):
    counts = np.array([np.bincount(train.labels[part], minlength=10) for part in parts])
    for digit in range(10):
        below = counts[:, :digit].sum(1)
        axis.bar(range(NUM_CLIENTS), counts[:, digit], bottom=below, color=f"C{digit}", label=digit)
    axis.set(title=name, xlabel="client")
axes[0].set(ylabel="images")
axes[1].legend(title="digit", ncols=2, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## Train
#
# In a round every client starts from the global model, takes 20 steps on its own images, and sends
# the change of its model. The server adds the mean change. Both runs share one compiled program,
# and are measured with the same noise on the same test images.


# %%
class Bits(NamedTuple):
    """The bits of each client of the cohort."""

    num_bits: Any


work = LocalWork(batch_size=32, local_steps=20)
batch_fn = partial(draw_batch, batch_size=work.batch_size)
training = LocalTraining(loss_fn, batch_fn, optax.adam(2e-3), work)
simulator = make_simulator(init_params, training, server=ServerUpdate(ema_decay=0.8))
key = seed_to_key(0)
test_batch = Batch(jnp.asarray(test.images / 127.5 - 1, jnp.float32), jnp.asarray(test.labels))
measure_loss = jax.jit(lambda params: loss_fn(params, test_batch, seed_to_key(1)))

losses, states = {}, {}
for name, parts in partitions.items():
    data = make_client_data(train, parts, num_slots)
    state = simulator.init(key, data)
    losses[name] = [float(measure_loss(state.params))]
    for _ in range(NUM_ROUNDS):
        bits = Bits(np.full(NUM_CLIENTS, 8))
        state, info = simulator.step(key, state, bits, np.arange(NUM_CLIENTS), data)
        losses[name].append(float(measure_loss(state.params)))
    states[name] = state
    print(f"{name}: loss {losses[name][0]:.3f} before, {losses[name][-1]:.3f} at the end")

figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, values in losses.items():
    axis.plot(values, label=name)
axis.set(xlabel="round", ylabel="loss on test images", ylim=(0, 1.1))
axis.legend()
plt.show()

# %% [markdown]
# Clients with few digits pull the model in different directions, so their mean learns a little more
# slowly.
#
# ## Draw images
#
# `sample_ddim` begins with noise and removes it in 20 steps. The parameters are the moving average
# over the rounds.


# %%
@jax.jit
def draw_images(params):
    """Returns 12 images in [-1, 1]."""
    denoise = partial(predict_noise, params)
    return sample_ddim(seed_to_key(2), denoise, schedule, (12, 8, 8, 1), num_steps=20)


figure, axes = plt.subplots(2, 12, figsize=(10, 2), layout="constrained")
for row, (name, state) in zip(axes, states.items(), strict=True):
    images = np.asarray(draw_images(state.ema_params))
    for axis, image in zip(row, images, strict=True):
        axis.imshow(image[..., 0], cmap="gray", vmin=-1, vmax=1)
        axis.set(xticks=[], yticks=[])
    row[0].set(ylabel=name)

# %% [markdown]
# ## What this notebook claims
#
# The numbers above must show it, or this cell fails.

# %%
assert signal[-1] < 0.02
assert noise[-1] > 0.99  # at the end noise alone
num_digits = {
    name: max(len(np.unique(train.labels[part])) for part in parts)
    for name, parts in partitions.items()
}
assert num_digits["few digits"] < num_digits["all digits"] == 10
for values in losses.values():
    assert 0.9 < values[0] < 1.1
    assert values[-1] < 0.6 * values[0]
assert losses["few digits"][-1] > losses["all digits"][-1]
assert images.shape == (12, 8, 8, 1)
assert abs(images).max() <= 1
