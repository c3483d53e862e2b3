"""The energy saved by sharing one band against equal shares, and the time to find the shares.

Random fleets of the package's default (classes of devices, 50 to 500 m, Rayleigh fading, 0.27 M
parameters, a total band of 100 kHz per client), over deadlines. Prints the energy saved if both
ways can serve all clients, the number of fleets that each way can serve, the certified gap and the
time of a call. Also solves the same convex problem, the shares at fixed bits, with SciPy's SLSQP.
Needs the ``test`` extra.

    python benchmarks/shared_band.py
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from fedjax_diffusion.allocation import AllocationProblem, allocate
from fedjax_diffusion.edge import make_fleet, path_loss_db
from fedjax_diffusion.experiment.compute import describe_machine

METHODS = ("on_demand", "fixed_bits:8", "full_precision")
DEADLINES = (12.0, 16.0, 20.0, 30.0, 60.0, 240.0)
SIZES = (10, 100, 1000)
SOLVER_SIZES = (3, 10, 30)
ORACLE = Path(__file__).parents[1] / "tests/allocation/shared_band_oracle.py"


def load_oracle() -> ModuleType:
    """Returns the module that solves the shares with SciPy, loaded from the tests by its path."""
    spec = importlib.util.spec_from_file_location("shared_band_oracle", ORACLE)
    assert spec is not None
    assert spec.loader is not None  # of a .py file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw_problem(num_clients: int, seed: int, deadline: float) -> AllocationProblem:
    """Returns a round of a random fleet; its error budget is that of 6 bits for every client."""
    generator = np.random.default_rng([seed, num_clients])
    devices = make_fleet(
        num_clients,
        seed=seed,
        fleet="mixed",
        min_distance_meters=50.0,
        max_distance_meters=500.0,
        bandwidth_hz=1e5,
    )
    fading = np.maximum(generator.exponential(size=num_clients), 0.1)
    weight = generator.lognormal(size=num_clients)
    return AllocationProblem(
        compute_cycles=generator.uniform(1e9, 8e9, num_clients),
        effective_capacitance=devices.effective_capacitance,
        max_frequency_hz=devices.max_frequency_hz,
        channel_gain=10 ** (-path_loss_db(devices.distance_meters) / 10) * fading,
        bandwidth_hz=devices.bandwidth_hz,
        max_power_watts=devices.max_power_watts,
        noise_density_watts_per_hz=10**-20.4,
        num_parameters=267_000,
        overhead_bits=4096,
        min_bits=devices.min_bits,
        max_bits=devices.max_bits,
        error_weight=weight,
        error_budget=weight.sum() / 63.0**2,
        time_budget_seconds=deadline,
    )


def compare(num_clients: int, method: str, deadline: float, num_seeds: int) -> dict[str, float]:
    """Returns the savings and the number of fleets each way serves, of a method and deadline."""
    savings, num_separate, num_joint = [], 0, 0
    for seed in range(num_seeds):
        problem = draw_problem(num_clients, seed, deadline)
        separate = allocate(problem, method)
        joint = allocate(problem, method + ":joint_bandwidth")
        is_separate, is_joint = ((a.num_bits > 0).all() for a in (separate, joint))
        num_separate, num_joint = num_separate + int(is_separate), num_joint + int(is_joint)
        if is_separate and is_joint:
            savings.append(1.0 - joint.total_joules / separate.total_joules)
    row: dict[str, float] = {"served_separately": num_separate, "served_jointly": num_joint}
    if savings:
        row |= {
            "least": min(savings),
            "median": statistics.median(savings),
            "most": max(savings),
        }
    return row


def median_seconds(run: Callable[[], object], num_calls: int = 5) -> float:
    """Returns the median time of a call, after a first call that compiles."""
    seconds = []
    for call in range(num_calls + 1):
        start = time.perf_counter()
        run()
        if call:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure(num_clients: int, num_seeds: int) -> dict[str, float]:
    """Returns the gaps and the time of a call at one size, at 20 s."""
    problems = [draw_problem(num_clients, seed, 20.0) for seed in range(num_seeds)]
    answers = [allocate(problem, "on_demand:joint_bandwidth") for problem in problems]
    gaps = [float(a.relative_gap) for a in answers if (a.num_bits > 0).all()]
    seconds = {
        name: median_seconds(lambda name=name: allocate(problems[0], name))
        for name in ("on_demand", "on_demand:joint_bandwidth", "fixed_bits:4:joint_bandwidth")
    }
    return {"median_gap": statistics.median(gaps), "largest_gap": max(gaps)} | seconds


def race(num_clients: int, oracle: ModuleType) -> dict[str, float]:
    """Returns SciPy's time for the shares at 4 bits, and the additional energy of its result."""
    problem = draw_problem(num_clients, 0, 60.0)
    ours = allocate(problem, "fixed_bits:4:joint_bandwidth").total_joules
    start = time.perf_counter()
    theirs, _ = oracle.shared_energy(problem, [4] * num_clients)
    return {"slsqp_seconds": time.perf_counter() - start, "relative_excess": theirs / ours - 1.0}


def text(row: dict[str, float]) -> str:
    """Returns a row as one line."""
    return ", ".join(f"{name} {value:.3g}" for name, value in row.items())


def main() -> None:
    """Prints the tables and writes the JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="fleets per row")
    num_seeds = parser.parse_args().seeds
    result: dict = {"machine": describe_machine(), "date": time.strftime("%Y-%m-%d")}
    for num_clients in SIZES[:2]:
        for method in METHODS:
            for deadline in DEADLINES:
                row = compare(num_clients, method, deadline, num_seeds)
                result[f"K={num_clients} {method} T={deadline:g}"] = row
                print(f"K = {num_clients:4d}  {method:14s} T = {deadline:3g} s ", text(row))
    for num_clients in SIZES:
        row = measure(num_clients, min(num_seeds, 20 if num_clients < 1000 else 3))
        result[f"K={num_clients}"] = row
        print(f"K = {num_clients:4d} ", text(row))
    oracle = load_oracle()
    for num_clients in SOLVER_SIZES:
        row = race(num_clients, oracle)
        result[f"K={num_clients} SLSQP"] = row
        print(f"K = {num_clients:4d} ", text(row))
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
