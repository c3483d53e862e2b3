# %% [markdown]
# # Quickstart: from installation to samples and the table of energy
#
# Eight simulated devices (sensors, phones, laptops) train one small diffusion model on handwritten
# digits. Before each upload a device quantizes its update to the bits that the allocator chose for
# it. The allocator spends as little energy as the deadline and the quantization error allow.
#
# The digits are part of the installation. This notebook trains a narrow model for 12 rounds; good
# pictures take longer. Without the overrides it is the default, as in `fedjax-diffusion run`.
#
# | CPU | T4 | TPU |
# |---|---|---|
# | 1.3 minutes | not measured | not measured |
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
import matplotlib.pyplot as plt
import numpy as np

from fedjax_diffusion import allocate, build, load_config, load_run, run

# One CPU device per core, before JAX starts: they train different clients at the same time.
jax.config.update("jax_num_cpu_devices", os.cpu_count())
print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, {jax.device_count()} device(s)")

# %% tags=["parameters"]
NUM_ROUNDS, CHANNELS, NUM_RESOLUTIONS = 12, 16, 2
NUM_CLIENTS, BATCH_SIZE, LOCAL_STEPS, SAMPLER_STEPS = 8, 32, 20, 50

# %% [markdown]
# ## Who participates
#
# All that a run needs is built from the config, and every part of it can be looked at.

# %%
BASELINES = (
    "full_precision",
    "full_precision:max_frequency",
    "fixed_bits:8",
    "fixed_bits:8:max_frequency",
)
config = load_config(
    "configs/digits.py",
    {
        "num_rounds": NUM_ROUNDS,
        "partition.num_clients": NUM_CLIENTS,
        "model.channels": CHANNELS,
        "model.channel_multipliers": (1,) * NUM_RESOLUTIONS,
        "allocator.time_budget_seconds": 6.0,
        "client_optimizer.learning_rate": 4e-3,
        "federated.ema_decay": 0.5,
        "local_work.batch_size": BATCH_SIZE,
        "local_work.local_steps": LOCAL_STEPS,
        "allocator.baselines": BASELINES,
        "sampling.num_samples": 32,
        "sampling.num_steps": SAMPLER_STEPS,
        "compute.tune": "guess",  # no trials: they take longer than they save in a short run
    },
)
experiment = build(config)
devices = experiment.devices
print(f"{experiment.workload.num_parameters:,} parameters, {len(experiment.parts)} clients:")
for client, part in enumerate(experiment.parts):
    name = devices.class_names[devices.class_index[client]]
    print(f"{client} {name:6} at {devices.distance_meters[client]:3.0f} m, {len(part)} images")

num_clients = len(experiment.parts)
figure, axes = plt.subplots(1, num_clients, figsize=(10, 1.6))
for client, (axis, part) in enumerate(zip(axes, experiment.parts, strict=True)):
    axis.imshow(experiment.dataset.images[part[0], ..., 0], cmap="gray")
    axis.set(title=f"client {client}", xticks=[], yticks=[])

# %% [markdown]
# ## Train
#
# One call. Called again with the same folder it resumes, or does nothing if the run is finished.


# %%
def show(record):
    """Prints one line per round."""
    loss, bits, joules = record["loss"], record["num_bits"], record["total_joules"]
    print(f"round {record['round'] + 1}  loss {loss:.3f}  bits {bits}  {joules:.3f} J")


result = run(config, "runs/quickstart", on_record=show)

# %% [markdown]
# ## The cost, against baselines on the same channels
#
# `full_precision` sends float32, `fixed_bits:8` gives everybody 8 bits. Each is charged once with
# the best division of the deadline between computing and uploading, and once computing at full
# frequency. The last column is what this run saves.

# %%
methods = result.summary["methods"]
for row in methods:
    saved = row["saved_joules_percent"]
    megabytes = row["uplink_bytes"] / 1e6
    print(f"{row['method']:30} {row['total_joules']:8.3f} J {megabytes:7.2f} MB {saved:6.1f} %")

# %%
records = result.records
rounds = np.arange(1, 1 + len(records))
figure, (joules, error) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
joules.plot(rounds, np.cumsum([r["total_joules"] for r in records]), "k", label="this run")
for name in ("full_precision", "fixed_bits:8"):
    joules.plot(rounds, np.cumsum([r["baseline_joules"][name] for r in records]), label=name)
joules.set(xlabel="round", ylabel="joules, cumulative")
joules.legend()
for name in ("quantization_error", "quantization_error_bound"):
    error.semilogy(rounds, [r[name] for r in records], label=name.replace("_", " "))
error.set(xlabel="round", ylabel="squared error of the mean")
error.legend()
plt.show()

# %% [markdown]
# ## Draw samples
#
# From the moving average of the global model. Twelve rounds of a narrow model give strokes; the
# forty rounds of the default give digits.

# %%
experiment, state = load_run("runs/quickstart")
images = experiment.draw_samples(experiment.run_key, state.ema_params, counter=0)

figure, axes = plt.subplots(2, 16, figsize=(10, 1.4))
for axis, image in zip(axes.flat, images, strict=True):
    axis.imshow(image[..., 0], cmap="gray")
    axis.axis("off")

# %% [markdown]
# ## One allocation by hand
#
# The allocator is a function of its own. Here it answers for the next round, with smaller and
# smaller error budgets.

# %%
plan = experiment.plan(experiment.run_key, state.upload_statistics)
allocations = []
for share in (1.0, 0.5, 0.1):
    problem = plan.problem.replace(error_budget=float(plan.problem.error_budget) * share)
    allocation = allocate(problem)
    allocations.append(allocation)
    print(
        f"error budget x {share}: bits {allocation.num_bits.tolist()}, "
        f"{allocation.total_joules:.3f} J, within {100 * float(allocation.relative_gap):.2g} % of "
        "the least energy"
    )

# %% [markdown]
# ## What this notebook claims
#
# The numbers above must show it, or this cell fails.

# %%
assert len(records) == NUM_ROUNDS
assert records[-1]["loss"] < records[0]["loss"]
joules_by_method = {row["method"]: row["total_joules"] for row in methods}
assert methods[0]["total_joules"] < joules_by_method["full_precision"]
assert methods[0]["uplink_bytes"] < methods[1]["uplink_bytes"]
assert images.shape[0] == 32
energies = [allocation.total_joules for allocation in allocations]
assert energies == sorted(energies)  # a smaller error costs more energy
