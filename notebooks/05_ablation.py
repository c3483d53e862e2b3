# %% [markdown]
# # How many bits are enough? An ablation in one program
#
# The same training with 1, 2, 3, 4, 8 and 32 bits, each with several seeds. What does each bit
# width cost in quality, and what does it save in bytes? The picture of both is the frontier.
#
# All runs train **at once**: bits and seeds are arguments of the compiled round, so `jax.vmap` maps
# it over the runs. The model is a small network of dense layers on images of 8x8 pixels, so that
# this takes seconds. The same question for a U-Net, as resumable runs with a report:
# `fedjax-diffusion sweep --config=configs/ablation_bits.py`.
#
# | CPU | T4 | TPU |
# |---|---|---|
# | 0.6 minutes | not measured | not measured |
#
# CPU: processor time beside other work, AMD EPYC, jax 0.10.2, 2026-11-27.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("fedjax_diffusion") is None:
    # pip keeps an installed JAX that is new enough: 0.10.2 or later.
    keep = ["--upgrade-strategy", "only-if-needed"]
    install = [sys.executable, "-m", "pip", "install", "--quiet", *keep]
    subprocess.run([*install, "fedjax-diffusion[notebooks]"], check=True)

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from scipy.special import stdtrit

from fedjax_diffusion import (
    Batch,
    ClientInputs,
    LocalTraining,
    LocalWork,
    ddpm_loss,
    draw_batch,
    encode_update,
    gather_inputs,
    load_images,
    make_client_data,
    make_schedule,
    make_simulator,
    partition_dirichlet,
    seed_to_key,
)

print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, {jax.device_count()} device(s)")

# %% tags=["parameters"]
NUM_ROUNDS, NUM_SEEDS, NUM_HIDDEN = 15, 8, 64

# %% [markdown]
# ## The task
#
# Four clients with unequal shares of the digits, and a network that predicts the noise in an image
# (notebook 02 explains both).

# %%
NUM_CLIENTS = 4
train, test = load_images("digits", "train"), load_images("digits", "test")
schedule = make_schedule("cosine", 100)


def init_params(key):
    """Returns the first parameters; the output is 0 at first."""
    return {
        "image": jax.random.normal(key, (64, NUM_HIDDEN)) / 8,
        "time": jnp.zeros((2, NUM_HIDDEN)),
        "output": jnp.zeros((NUM_HIDDEN, 64)),
    }


def predict_noise(params, x_t, t, dropout_key=None, labels=None):
    """Returns the predicted noise: a part of x_t, and the answer of the network."""
    power = schedule.noise_powers[t][:, None]
    time = jnp.concatenate([power, 1 - power], axis=1) @ params["time"]
    flat = x_t.reshape(len(x_t), 64)
    answer = jax.nn.silu(flat @ params["image"] + time) @ params["output"]
    return (power * flat + answer).reshape(x_t.shape)


loss_fn = partial(ddpm_loss, predict_noise, schedule)
work = LocalWork(batch_size=32, local_steps=10)
batch_fn = partial(draw_batch, batch_size=work.batch_size)
simulator = make_simulator(init_params, LocalTraining(loss_fn, batch_fn, optax.adam(3e-3), work))
parts = partition_dirichlet(train.labels, NUM_CLIENTS, alpha=1.0, seed=0)
data = make_client_data(train, parts)

# %% [markdown]
# ## All runs at once
#
# `pure_step` is a pure function of arrays. Over the runs differ the key (the seed), the state, and
# one field of the inputs: the bits. Runs with the same seed begin with the same parameters and draw
# the same batches, so they can be compared in pairs.

# %%
bit_widths = np.array([1, 2, 3, 4, 8, 32])
run_bits = np.repeat(bit_widths, NUM_SEEDS)  # run = bit width, seed
keys = jnp.stack([seed_to_key(seed) for seed in range(NUM_SEEDS)])
run_keys = jnp.tile(keys, len(bit_widths))

everybody = np.arange(NUM_CLIENTS)
inputs = gather_inputs(everybody, np.full(NUM_CLIENTS, 8), data.num_examples, work)
inputs = inputs.replace(num_bits=jnp.tile(run_bits[:, None], (1, NUM_CLIENTS)))
differs = ClientInputs(client=None, row=None, weight=None, num_bits=0, num_steps=None)
step_all = jax.jit(jax.vmap(simulator.pure_step, in_axes=(0, 0, differs, None)))

test_batch = Batch(jnp.asarray(test.images / 127.5 - 1, jnp.float32), jnp.asarray(test.labels))
measure_loss = jax.jit(
    jax.vmap(lambda params, batch: loss_fn(params, batch, seed_to_key(1)), in_axes=(0, None))
)

states = jax.vmap(lambda key: simulator.init(key, data))(run_keys)
losses = [measure_loss(states.params, test_batch)]
relative_errors = []
for _ in range(NUM_ROUNDS):
    states, info = step_all(run_keys, states, inputs, data)
    losses.append(measure_loss(states.params, test_batch))
    relative_errors.append(info.quantization_error / info.update_squared_norm)
losses = np.array(losses).reshape(-1, len(bit_widths), NUM_SEEDS)  # round, bit width, seed
relative_errors = np.array(relative_errors).reshape(-1, len(bit_widths), NUM_SEEDS)
print(f"{len(run_bits)} runs of {NUM_ROUNDS} rounds, one program")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
for index, bits in enumerate(bit_widths):
    left.plot(losses[:, index].mean(1), label=f"{bits} bits")
left.set(xlabel="round", ylabel="loss on test images")
left.legend()
right.semilogy(bit_widths[:-1], relative_errors[:, :-1].mean((0, 2)), "o-")
right.set(xlabel="bits", ylabel="squared error / squared mean update")
plt.show()

# %% [markdown]
# ## The frontier
#
# For each bit width: the bytes that all clients upload, and the loss in excess of the run with 32
# bits **and the same seed**. The bar is the 95 % interval of the mean over the seeds (Student's t).
# A bit width is worse than 32 bits if its whole bar lies above 0.

# %%
params = jax.tree.map(lambda leaf: leaf[0], states.params)
megabytes = np.array(
    [
        len(encode_update(keys[0], params, int(bits))) * NUM_CLIENTS * NUM_ROUNDS / 1e6
        for bits in bit_widths
    ]
)
STUDENT_T = stdtrit(NUM_SEEDS - 1, 0.975)  # two-sided 95 %
excess = losses[-1] - losses[-1, -1]
mean = excess.mean(1)
half_width = STUDENT_T * excess.std(1, ddof=1) / np.sqrt(NUM_SEEDS)
for index, bits in enumerate(bit_widths):
    print(
        f"{bits:2} bits: {megabytes[index]:5.2f} MB, loss {losses[-1, index].mean():.4f}, "
        f"excess {mean[index]:+.4f} +- {half_width[index]:.4f}"
    )

figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.errorbar(megabytes, mean, half_width, fmt="o-", capsize=3)
for x, y, bits in zip(megabytes, mean, bit_widths, strict=True):
    axis.annotate(f"{bits}", (x, y), xytext=(4, 4), textcoords="offset points")
axis.axhline(0, color="k", linestyle=":")
axis.set(xscale="log", xlabel="MB uploaded by all clients", ylabel="loss in excess of 32 bits")
plt.show()

# %% [markdown]
# Here 1 bit is clearly worse. Four bits lose almost nothing, at an eighth of the bytes; more bits
# gain no more. Another model or more rounds may need other bits: change the sizes, or sweep the
# U-Net.

# %% [markdown]
# ## What this notebook claims
#
# The numbers above must show it, or this cell fails.

# %%
excess_of = dict(zip(bit_widths.tolist(), mean, strict=True))
assert (losses[-1].mean(1) < losses[0].mean(1))[2:].all()  # 3 bits and more learn
assert mean[0] - half_width[0] > 0  # 1 bit is worse than 32
assert abs(excess_of[4]) < 0.2 * excess_of[1]
assert abs(excess_of[8]) < 0.1 * excess_of[1]
assert megabytes[bit_widths == 4] < 0.14 * megabytes[-1]
assert (np.diff(relative_errors[:, :-1].mean((0, 2))) < 0).all()  # more bits, less error
assert (relative_errors[:, -1] == 0).all()  # 32 bits are exact
