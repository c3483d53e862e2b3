"""The allocator against a general convex solver, CVXPY with Clarabel, on the same problems.

Random fleets of the package's default (classes of devices, 0.27 M parameters, 100 kHz each, 20 s).
Both solve the relaxed problem (real bits), and ours also the on-demand problem (whole bits), in
turn, in one process. Prints medians over the problems that CVXPY calls optimal. Needs the ``test``
extra.

    python benchmarks/convex_solver.py
"""

import argparse
import importlib.metadata
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

SIZES = (10, 100, 1000)
MILLION = 1_000_000
MODEL = Path(__file__).parents[1] / "tests" / "resources" / "convex.py"
COLUMNS = {  # column: meaning
    "cvxpy_ms": "CVXPY, all of solve()",
    "clarabel_ms": "Clarabel alone",
    "relaxed_ms": "ours, real bits",
    "on_demand_ms": "ours, whole bits",
    "cvxpy_over_relaxed": "ratio",
    "clarabel_over_relaxed": "ratio",
    "relative_energy_difference": "of the real bits, the largest",
}


def load_model() -> ModuleType:
    """Returns the module of the convex model, loaded from the tests by its path."""
    spec = importlib.util.spec_from_file_location("convex", MODEL)
    if spec is None or spec.loader is None:
        raise ImportError(f"{MODEL} is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw_problem(num_clients: int, seed: int) -> AllocationProblem:
    """Returns a round of a random fleet: its classes, positions, fading, work and weights."""
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
        error_budget=weight.sum() / (2.0 ** generator.uniform(5, 7) - 1) ** 2,
        time_budget_seconds=20.0,
    )


def median_seconds(run: Callable[[], object], num_calls: int) -> float:
    """Returns the median time of a call, after a first call that compiles."""
    seconds = []
    for call in range(num_calls + 1):
        start = time.perf_counter()
        run()
        if call:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def compare(
    problem: AllocationProblem, convex: ModuleType, num_calls: int
) -> tuple[str, dict[str, float]]:
    """Returns CVXPY's status and the columns of one problem, without medians of ratios."""
    model = convex.pose(problem)
    start = time.perf_counter()
    theirs = convex.solve(model)
    cvxpy_seconds = time.perf_counter() - start
    relaxed = median_seconds(lambda: allocate(problem, "relaxed"), num_calls)
    on_demand = median_seconds(lambda: allocate(problem, "on_demand"), num_calls)
    joules = allocate(problem, "relaxed").total_joules
    return theirs.status, {
        "cvxpy_ms": 1e3 * cvxpy_seconds,
        "clarabel_ms": 1e3 * theirs.solver_seconds,
        "relaxed_ms": 1e3 * relaxed,
        "on_demand_ms": 1e3 * on_demand,
        "cvxpy_over_relaxed": cvxpy_seconds / relaxed,
        "clarabel_over_relaxed": theirs.solver_seconds / relaxed,
        "relative_energy_difference": abs(theirs.joules / joules - 1.0),
    }


def summarize(runs: list[tuple[str, dict[str, float]]]) -> dict[str, float]:
    """Returns each column's median over problems that CVXPY solved, and the number of others."""
    solved = [row for status, row in runs if status == "optimal"]
    summary = {name: statistics.median(row[name] for row in solved) for name in COLUMNS}
    summary["relative_energy_difference"] = max(row["relative_energy_difference"] for row in solved)
    return summary | {"num_optimal": len(solved), "num_not_optimal": len(runs) - len(solved)}


def main() -> None:
    """Times both on problems of every size and writes the JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=9, help="problems per size")
    parser.add_argument("--calls", type=int, default=100, help="calls of ours per problem")
    arguments = parser.parse_args()
    convex = load_model()
    convex.solve(convex.pose(draw_problem(3, 0)))  # the first call imports and compiles
    by_size = {}
    for num_clients in SIZES:
        problems = [draw_problem(num_clients, seed) for seed in range(arguments.seeds)]
        summary = summarize([compare(problem, convex, arguments.calls) for problem in problems])
        by_size[num_clients] = summary
        print(f"K = {num_clients}: {summary['num_optimal']} optimal of {len(problems)}")
        for name, meaning in COLUMNS.items():
            print(f"  {name:28s} {summary[name]:12.4g}  {meaning}")
    million = draw_problem(MILLION, 0)
    seconds = median_seconds(lambda: allocate(million, "relaxed"), 3)
    print(f"K = {MILLION}: real bits in {seconds:.2f} s")
    packages = ("cvxpy", "clarabel")
    result = {
        "machine": describe_machine()
        | {name: importlib.metadata.version(name) for name in packages},
        "by_num_clients": by_size,
        "million_clients_relaxed_seconds": seconds,
        "date": time.strftime("%Y-%m-%d"),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
