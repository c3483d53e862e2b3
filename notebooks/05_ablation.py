# %% [markdown]
# # How many bits are enough? An ablation as a sweep
#
# The same federated training with 1, 2, 4, 8 and 32 bits, each with several seeds. What does each
# bit width cost in quality, and what does it save in joules and megabytes? The picture of both is
# the frontier.
#
# A **sweep** is a folder of runs. Each point has a folder of its own, a stopped sweep goes on where
# it stopped, and the figures come from the report. The model here is a tiny U-Net and learns for a
# few rounds, so that this takes minutes. The same question for the model of the default:
# `fedjax-diffusion sweep --config=configs/ablation_bits.py`.
#
# | CPU | T4 | TPU |
# |---|---|---|
# | 3.0 minutes | not measured | not measured |
#
# CPU: 2 idle cores, an empty cache, AMD EPYC, jax 0.10.2, 2026-11-28.

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
import os

import jax
import numpy as np
from IPython.display import Image, display

from fedjax_diffusion import expand, load_config, read_figures, read_sweep, run_sweep

# One CPU device per core, before JAX starts: they train different clients at the same time.
jax.config.update("jax_num_cpu_devices", os.cpu_count())
print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, {jax.device_count()} device(s)")

# %% tags=["parameters"]
NUM_ROUNDS, NUM_SEEDS, NUM_IMAGES, BIT_WIDTHS = 12, 5, 300, (1, 2, 4, 8)
NUM_CLIENTS, NUM_RESOLUTIONS, BATCH_SIZE, LOCAL_STEPS = 4, 2, 32, 10

# %% [markdown]
# ## The points
#
# The config holds what all points share. `get_hyper` returns what differs: every bit width with
# every seed. Points with the same seed have the same clients, channels, batches and noise, so they
# can be compared in pairs. The deadline of ten minutes is long enough for 32 bits: nobody is late,
# and only the bits differ.

# %%
config = load_config(
    "configs/digits.py",
    {
        "num_rounds": NUM_ROUNDS,
        "model.channels": 8,
        "model.channel_multipliers": (1,) * NUM_RESOLUTIONS,
        "partition.num_clients": NUM_CLIENTS,
        "devices.min_bits": 1,
        "allocator.time_budget_seconds": 600.0,
        "allocator.baselines": (),  # the points are compared with each other
        "client_optimizer.learning_rate": 4e-3,
        "federated.ema_decay": 0.5,
        "local_work.batch_size": BATCH_SIZE,
        "local_work.local_steps": LOCAL_STEPS,
        "sampling.num_samples": 20,
        "sampling.num_steps": 10,
        "compute.tune": "guess",  # no trials: they take longer than these short runs
    },
)


def get_hyper(h):
    """Returns the points: every bit width with every seed."""
    methods = [f"fixed_bits:{bits}" for bits in BIT_WIDTHS] + ["full_precision"]
    return h.product([h.sweep("allocator.method", methods), h.sweep("seed", range(NUM_SEEDS))])


points = expand(config, get_hyper)
print(f"{len(points)} points, for example {points[0].label}")

# %% [markdown]
# ## Play them
#
# One call. All points share their compiled programs: bits and seeds are arguments. Called again
# with the same folder, it plays only what is missing. Each finished point draws images, and their
# distance from the real ones is its quality.


# %%
def show(point, state):
    """Prints one line per point."""
    print(f"{point.label}: {state.status}")


result = run_sweep(
    config,
    points,
    "sweeps/bits",
    num_evaluated=NUM_IMAGES,
    reference="*method-full-precision*",
    on_point=show,
)

# %% [markdown]
# ## The table
#
# `read_sweep` returns one row per point. Here are the means over the seeds.

# %%
rows = read_sweep("sweeps/bits").to_pylist()
methods = list(dict.fromkeys(row["allocator.method"] for row in rows))


def read(column, method):
    """Returns a column of a method's points, in the order of the seeds."""
    own = [row for row in rows if row["allocator.method"] == method]
    return np.array([row[column] for row in sorted(own, key=lambda row: row["seed"])])


print("method         millijoules      MB    loss  distance")
for method in methods:
    columns = ("total_joules", "uplink_bytes", "loss", "quality")
    joules, num_bytes, loss, quality = (read(column, method).mean() for column in columns)
    print(f"{method:14} {1000 * joules:11.3f} {num_bytes / 1e6:7.3f} {loss:7.4f} {quality:9.1f}")

# %% [markdown]
# ## The figures of the report
#
# `fedjax-diffusion report --workdir=sweeps/bits` writes a page with all of them. In the frontier,
# a small dot is one seed, a large one the mean of a bit width.

# %%
figures = {figure.name: figure for figure in read_figures("sweeps/bits")}
for name in ("frontier", "differences", "loss_progress", "error_bits"):
    figures[name].draw().savefig(f"{name}.png", dpi=100)
    display(Image(f"{name}.png"))
    print(f"{figures[name].title}. {figures[name].caption}")

# %% [markdown]
# One bit spares the most and learns the least. Eight bits send a quarter of the bytes of float32
# and lose little. Another model or more rounds may need other bits: change the sizes, or sweep the
# model of the default.

# %% [markdown]
# ## What this notebook claims
#
# The numbers above must show it, or this cell fails.

# %%
assert all(row["status"] == "evaluated" for row in rows)
assert len(rows) == NUM_SEEDS * (len(BIT_WIDTHS) + 1)
megabytes = {method: read("uplink_bytes", method).mean() / 1e6 for method in methods}
energy = {method: read("total_joules", method).mean() for method in methods}
assert list(megabytes.values()) == sorted(megabytes.values())  # more bits, more bytes
assert list(energy.values()) == sorted(energy.values())  # and more energy
assert megabytes["fixed_bits:8"] < 0.27 * megabytes["full_precision"]
excess = {method: read("loss", method) - read("loss", "full_precision") for method in methods}
assert excess["fixed_bits:1"].mean() > 0  # 1 bit learns less
assert abs(excess["fixed_bits:8"].mean()) < 0.2 * excess["fixed_bits:1"].mean()
