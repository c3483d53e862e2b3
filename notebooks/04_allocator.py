# %% [markdown]
# # The allocator: energy, deadline and distance
#
# Before each round the allocator chooses three things for every client: the bits of its upload, how
# long it computes, and its transmit power. It looks for the **least energy** that meets the
# deadline and keeps the quantization error of the round within a budget. This notebook shows how
# its answer depends on the deadline, on the distance and on the budget. Nothing is trained.
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
import matplotlib.pyplot as plt
import numpy as np

from fedjax_diffusion import (
    AllocationProblem,
    Status,
    allocate,
    draw_channel,
    make_fleet,
    seed_to_key,
    verify,
)

print(f"JAX {jax.__version__} on {jax.devices()[0].device_kind}, {jax.device_count()} device(s)")
print("The allocator itself always runs on the CPU, in float64.")

# %% tags=["parameters"]
NUM_CLIENTS, NUM_POINTS = 12, 16

# %% [markdown]
# ## One problem
#
# Twelve equal devices stand 100 m to 1000 m from the base station. Each computes two billion
# cycles and uploads a model of a million parameters, over a channel without fading. The error
# budget is the error of 8 bits for everybody, so `fixed_bits:8` gives the same quality.

# %%
METHODS = ("on_demand", "fixed_bits:8", "full_precision")
LABELS = ("on demand", "8 bits for all", "32 bits for all")
fleet = make_fleet(
    NUM_CLIENTS,
    seed=0,
    fleet="uniform",
    min_distance_meters=100.0,
    max_distance_meters=1000.0,
    bandwidth_hz=1e6,
    min_bits=1,
    max_bits=16,
)
fleet = fleet.replace(distance_meters=np.linspace(100.0, 1000.0, NUM_CLIENTS))


def make_problem(deadline_seconds=10.0, distance_factor=1.0, budget_bits=8):
    """Returns the problem; the error budget is that of ``budget_bits`` for every client."""
    devices = fleet.replace(distance_meters=distance_factor * fleet.distance_meters)
    channel = draw_channel(seed_to_key(0), 0, devices, shadowing_db=0.0, fading="none")
    weight = 1.0 / NUM_CLIENTS**2  # the aggregation weight squared; V = 1 for everybody
    return AllocationProblem(
        compute_cycles=2e9,
        effective_capacitance=devices.effective_capacitance,
        max_frequency_hz=devices.max_frequency_hz,
        channel_gain=channel.gain,
        bandwidth_hz=devices.bandwidth_hz,
        max_power_watts=devices.max_power_watts,
        noise_density_watts_per_hz=4e-21,
        num_parameters=1_000_000,
        overhead_bits=512,
        min_bits=devices.min_bits,
        max_bits=devices.max_bits,
        error_weight=weight,
        error_budget=NUM_CLIENTS * weight / (2**budget_bits - 1) ** 2,
        time_budget_seconds=deadline_seconds,
    )


problem = make_problem()
allocation = allocate(problem)
meters = fleet.distance_meters
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
left.plot(meters, allocation.num_bits, "o-")
left.axhline(8, color="k", linestyle=":")
left.set(xlabel="meters", ylabel="bits")
parts = ("compute", "upload")
seconds = allocation.compute_seconds, allocation.upload_seconds
middle.stackplot(meters, *seconds, labels=parts)
middle.set(xlabel="meters", ylabel="seconds")
right.stackplot(meters, allocation.compute_joules, allocation.transmit_joules, labels=parts)
right.set(xlabel="meters", ylabel="joules")
right.legend(loc="upper left")
gap = 100 * float(allocation.relative_gap)
print(f"{allocation.total_joules:.3f} J, at most {gap:.2g} % above the least possible energy")
print(verify(problem, allocation))

# %% [markdown]
# A far client needs more energy for each bit. So it sends fewer bits than a near one, takes more of
# the deadline for its upload, and computes faster. The total error is no larger than with 8 bits
# for everybody. The last line comes from `verify`: it computes every limit and cost again, with
# code of its own.
#
# ## The deadline
#
# More time saves energy twice: the processor can run slower (its energy falls with the square of
# the time), and the radio can send with less power.

# %%
deadlines = np.geomspace(4.0, 40.0, NUM_POINTS)
by_deadline = {
    method: [allocate(make_problem(deadline), method) for deadline in deadlines]
    for method in METHODS
}


def count_joules(allocations):
    """Returns the energy of each allocation; NaN if a client cannot meet the deadline."""
    return np.array(
        [a.total_joules if (a.status == Status.OPTIMAL).all() else np.nan for a in allocations]
    )


joules_by_deadline = {method: count_joules(by_deadline[method]) for method in METHODS}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
for method, label in zip(METHODS, LABELS, strict=True):
    left.loglog(deadlines, joules_by_deadline[method], "o-", markersize=3, label=label)
left.set(xlabel="deadline, s", ylabel="joules of a round")
left.set_xticks((4, 10, 20, 40), labels=("4", "10", "20", "40"))
left.set_yticks((0.5, 1, 2, 5), labels=("0.5", "1", "2", "5"))
left.minorticks_off()
left.legend()
for client, label in ((0, "nearest client"), (-1, "farthest client")):
    bits = [allocation.num_bits[client] for allocation in by_deadline["on_demand"]]
    right.plot(deadlines, bits, "o-", markersize=3, label=label)
right.set(xlabel="deadline, s", ylabel="bits")
right.legend()
plt.show()

# %% [markdown]
# A line begins at the first deadline that all clients can meet. For 32 bits that is later than for
# 8 bits. The bits depend little on the deadline: the error budget decides how many there are, and
# the distance who has them.
#
# ## The distance
#
# Now the whole fleet moves away from the base station; the deadline is 10 seconds.

# %%
factors = np.linspace(0.4, 1.3, NUM_POINTS)
joules_by_distance = {
    method: count_joules(
        [allocate(make_problem(distance_factor=factor), method) for factor in factors]
    )
    for method in METHODS
}
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for method, label in zip(METHODS, LABELS, strict=True):
    axis.semilogy(1000 * factors, joules_by_distance[method], "o-", markersize=3, label=label)
axis.set(xlabel="distance of the farthest client, m", ylabel="joules of a round")
axis.set_yticks((0.2, 0.5, 1, 2, 5), labels=("0.2", "0.5", "1", "2", "5"))
axis.minorticks_off()
axis.legend()
plt.show()

# %% [markdown]
# ## The price of a small error
#
# One more bit for everybody divides the error by about four, and costs energy. At the same error
# the allocator's bits cost less than equal bits.

# %%
budgets = np.arange(3, 13)
problems = [make_problem(budget_bits=int(bits)) for bits in budgets]
on_demand = [allocate(problem) for problem in problems]
equal_bits = [
    allocate(problem, f"fixed_bits:{bits}") for problem, bits in zip(problems, budgets, strict=True)
]
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for allocations, label in ((on_demand, "on demand"), (equal_bits, "equal bits")):
    errors = [float(allocation.error) for allocation in allocations]
    axis.semilogx(errors, count_joules(allocations), "o-", markersize=4, label=label)
axis.set(xlabel="squared error of the mean, V = 1", ylabel="joules of a round")
axis.legend()
plt.show()

# %% [markdown]
# ## When it is impossible
#
# An impossible problem is no error. Each client has a status, and `explain` says what would help.

# %%
hurried = make_problem(deadline_seconds=1.1)
impossible = allocate(hurried)
print("\n".join(impossible.explain(hurried)))

# %% [markdown]
# ## What this notebook claims
#
# The numbers above must show it, or this cell fails.

# %%
assert verify(problem, allocation).is_valid
assert (np.diff(allocation.num_bits) <= 0).all()  # a farther client never sends more bits
assert allocation.upload_seconds[-1] > allocation.upload_seconds[0]
assert allocation.error <= problem.error_budget * (1 + 1e-9)  # rounding
for joules in joules_by_deadline.values():  # more time, less energy
    assert (np.diff(joules[~np.isnan(joules)]) < 0).all()
for joules in joules_by_distance.values():  # more distance, more energy
    assert (np.diff(joules[~np.isnan(joules)]) > 0).all()
for joules in (joules_by_deadline, joules_by_distance):
    on_demand_joules, equal_joules, full_joules = (joules[method] for method in METHODS)
    assert (on_demand_joules <= equal_joules)[~np.isnan(equal_joules)].all()
    assert (equal_joules < full_joules)[~np.isnan(full_joules)].all()
assert (
    np.isnan(joules_by_deadline["full_precision"]).sum()
    > np.isnan(joules_by_deadline["fixed_bits:8"]).sum()
)
bits_by_deadline = np.array([allocation.num_bits for allocation in by_deadline["on_demand"]])
assert (bits_by_deadline[:, 0] > bits_by_deadline[:, -1]).all()  # the nearest, the farthest
assert (np.ptp(bits_by_deadline, axis=0) <= 2).all()
assert (count_joules(on_demand) <= count_joules(equal_bits)).all()
assert (np.diff(count_joules(on_demand)) > 0).all()
assert (np.asarray(impossible.status) != Status.OPTIMAL).any()
assert impossible.explain(hurried)
