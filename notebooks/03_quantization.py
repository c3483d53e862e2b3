# %% [markdown]
# # Quantization and its error bound
#
# A device sends each number of its update with few bits. This notebook shows how the quantizer
# works, that its mean is right, and how large its error can be.
# The training comes in other notebooks; here the "update" is random numbers.
#
# | CPU | T4 | TPU |
# |---|---|---|
# | 0.3 minutes | not measured | not measured |
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
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from fedjax_diffusion import (
    decode_update,
    encode_update,
    quantization_error_bound,
    seed_to_key,
    stochastic_quantize,
)

print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, {jax.device_count()} device(s)")

# %% tags=["parameters"]
NUM_DRAWS, NUM_ENTRIES, NUM_CLIENTS = 256, 2000, 64

# %% [markdown]
# ## A grid, and chance
#
# `b` bits give `2^b` values. They divide the range of the numbers, from `lo` to `hi`, into equal
# steps. A number between two grid values goes to one of the two by chance: the nearer one is the
# more probable. The probabilities are chosen so that the **mean** is the number itself.

# %%
numbers = jnp.linspace(-1.0, 1.0, 201)


@jax.jit
def draw_many(keys, tree, num_bits):
    """Returns the receiver's values of many uploads of one tree, one for each key."""
    return jax.vmap(lambda key: stochastic_quantize(key, tree, num_bits))(keys)


grid_bits = (1, 2, 3)
keys = jax.random.split(seed_to_key(0), NUM_DRAWS)
draws = {bits: np.asarray(draw_many(keys, numbers, bits)) for bits in grid_bits}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
for axis, bits in zip(axes, grid_bits, strict=True):
    axis.plot(numbers, draws[bits][0], ".", markersize=3, label="one upload")
    axis.plot(numbers, draws[bits].mean(0), linewidth=2, label=f"mean of {NUM_DRAWS} uploads")
    axis.set(title=f"{bits} bit{'s'[: bits - 1]}: {2**bits} values", xlabel="number sent")
axes[0].set(ylabel="number received")
axes[2].legend(loc="upper left")
plt.show()

# %% [markdown]
# The points lie on the grid. Their mean lies on the diagonal: the quantizer has no bias.
#
# ## The error, and the bound
#
# For a tensor with `D` entries in a range of width `hi - lo`, the expected squared error is at most
#
#     E |Q(x) - x|^2 <= V / (2^b - 1)^2,    V = D (hi - lo)^2 / 4.
#
# A model has many tensors, each with its own range; their `V` are added. We measure the error of
# a small model at every bit width. `num_bits` is an argument of the compiled function: another
# bit width does not compile again.

# %%
noise = jax.random.normal(seed_to_key(1), (2, NUM_ENTRIES))
update = {"weights": 0.1 * noise[0], "bias": 0.01 * noise[1]}
bit_widths = np.arange(1, 17)
bound_of = jax.jit(quantization_error_bound)


def measure(num_bits):
    """Returns the mean squared error of an upload, and its bound."""
    received = draw_many(keys, update, num_bits)
    squares = [np.sum((received[name] - update[name]) ** 2) for name in update]
    return sum(squares) / NUM_DRAWS, bound_of(update, num_bits)


error, bound = np.array([measure(bits) for bits in bit_widths]).T
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.semilogy(bit_widths, bound, "k--", label="bound")
left.semilogy(bit_widths, error, "o", label="measured")
left.set(xlabel="bits", ylabel="squared error")
left.legend()
right.plot(bit_widths, error / bound, "o-")
right.axhline(2 / 3, color="k", linestyle=":")
right.set(xlabel="bits", ylabel="measured / bound", ylim=(0, 1.05))
plt.show()

# %% [markdown]
# - The measured error is never above the bound.
# - With 4 bits or more it is two thirds of the bound. The bound assumes that every number lies in
#   the middle of two grid values, where chance does most; numbers that lie anywhere between them
#   have two thirds of that error.
# - One more bit divides the error by 9 from 1 bit to 2, and by 4 when there are many bits.
#
# ## Many clients: errors cancel
#
# The server adds the updates of `K` clients with weights `a_k`. Each client draws for itself and
# has no bias, so the errors partly cancel: the bound of the sum is `sum a_k^2 V_k / (2^b - 1)^2`.
# With equal weights `1 / K` this is a `K`-th of one client's bound.
#
# Rounding to the **nearest** grid value has a smaller error for one client. But if clients send
# similar updates, all make the same error, and nothing cancels. Here all send the same update.

# %%
weights, num_bits = np.asarray(update["weights"]), 3
uploads = draw_many(jax.random.split(seed_to_key(3), NUM_CLIENTS), weights, num_bits)
counts = 2 ** np.arange(int(np.log2(NUM_CLIENTS)) + 1)
means = np.cumsum(uploads, axis=0)[counts - 1] / counts[:, None]
by_chance = np.sum((means - weights) ** 2, axis=1)
aggregate_bound = float(bound_of(weights, num_bits)) / counts
step = (weights.max() - weights.min()) / (2**num_bits - 1)
rounded = weights.min() + step * np.round((weights - weights.min()) / step)
nearest = np.sum((rounded - weights) ** 2)

figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.loglog(counts, aggregate_bound, "k--", label="bound, by chance")
axis.loglog(counts, by_chance, "o-", label="by chance")
axis.axhline(nearest, color="C1", label="to the nearest value")
axis.set(xlabel="clients", ylabel="squared error of the mean", xticks=counts, xticklabels=counts)
axis.legend()
plt.show()

# %% [markdown]
# With four clients or more, chance is better than the nearest value.
#
# ## The message
#
# The codes are packed: `b` bits per number, and a few bytes for ranges and header. What the
# receiver decodes is exactly what `stochastic_quantize` returns for the same key.

# %%
key = seed_to_key(4)
num_parameters = sum(leaf.size for leaf in jax.tree.leaves(update))
sizes = {}
for bits in (2, 8, 32):
    message = encode_update(key, update, bits)
    received = decode_update(message, update)
    expected = draw_many(key[None], update, bits)
    is_equal = jax.tree.map(lambda a, b: (a == b[0]).all(), received, expected)
    assert all(jax.tree.leaves(is_equal))
    sizes[bits] = len(message)
    codes = num_parameters * bits // 8
    print(f"{bits:2} bits: {len(message):6} bytes, of which {len(message) - codes} are not codes")

# %% [markdown]
# ## What this notebook claims
#
# The numbers above must show it, or this cell fails.

# %%
for bits in grid_bits:  # no bias: the mean is within 5 standard deviations
    variance = float(bound_of(numbers, bits)) / numbers.size
    assert abs(draws[bits].mean(0) - numbers).max() < 5 * np.sqrt(variance / NUM_DRAWS)
    assert len(np.unique(draws[bits])) == 2**bits
assert (error <= bound).all()
assert (abs(error / bound - 2 / 3)[3:] < 0.05).all()
assert np.isclose(bound[0] / bound[1], 9, rtol=0.03)
assert np.isclose(bound[9] / bound[10], 4, rtol=0.03)
assert (by_chance <= aggregate_bound).all()
assert by_chance[0] > nearest > by_chance[counts >= 4].max()
assert all(0 <= size - num_parameters * bits // 8 < 100 for bits, size in sizes.items())
