"""The allocator from 8 clients to a million: seconds, memory and its certificate.

Random fleets as in ``convex_solver``. Every size runs in its own process, so its peak memory is its
own too. Finally, 64 problems of 1,000 clients in one vmapped call and in as many single calls.

    python benchmarks/allocator_scale.py
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from convex_solver import draw_problem

from fedjax_diffusion.allocation import allocate, make_allocator, verify
from fedjax_diffusion.experiment.compute import describe_machine

SIZES = (8, 100, 1_000, 10_000, 100_000, 1_000_000)
METHODS = ("on_demand", "relaxed")
NUM_PROBLEMS, PROBLEM_CLIENTS = 64, 1_000


def time_calls(run: Callable[[], object], num_calls: int) -> tuple[float, float]:
    """Returns the seconds of the first call, which compiles, and the median of the others."""
    seconds = []
    for _ in range(num_calls + 1):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds[0], statistics.median(seconds[1:])


def measure(method: str, num_clients: int) -> dict[str, float]:
    """Returns the row of one method and size, measured in this process."""
    problem = draw_problem(num_clients, 0)
    before = peak_mebibytes()
    num_calls = 5 if num_clients >= 100_000 else 50
    first, median = time_calls(lambda: allocate(problem, method), num_calls)
    peak = peak_mebibytes()
    allocation = allocate(problem, method)
    is_valid = verify(problem, allocation).is_valid
    return {
        "first_call_seconds": first,
        "median_seconds": median,
        "relative_gap": float(allocation.relative_gap),
        "kkt_residual": float(allocation.kkt_residual),
        "is_valid": is_valid,
        "peak_mebibytes": peak,
        "peak_mebibytes_before": before,
    }


def measure_vmapped() -> dict[str, float]:
    """Returns the seconds of many problems in one call, and in one call for each."""
    problems = [draw_problem(PROBLEM_CLIENTS, seed) for seed in range(NUM_PROBLEMS)]
    with jax.enable_x64(True):
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *problems)
        solve = jax.jit(jax.vmap(make_allocator("on_demand")))
        first, together = time_calls(lambda: jax.block_until_ready(solve(stacked)), 5)
    _, one_by_one = time_calls(lambda: [allocate(p, "on_demand") for p in problems], 5)
    return {
        "first_call_seconds": first,
        "vmapped_seconds": together,
        "one_by_one_seconds": one_by_one,
    }


def peak_mebibytes() -> float:
    """Returns the peak memory of this process in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main() -> None:
    """Prints the table and writes the JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs=2, metavar=("METHOD", "CLIENTS"), help="one row, as JSON")
    only = parser.parse_args().only
    if only:
        print(json.dumps(measure(only[0], int(only[1]))))
        return
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for method in METHODS:
        rows[method] = {}
        for num_clients in SIZES:
            command = [sys.executable, __file__, "--only", method, str(num_clients)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            rows[method][str(num_clients)] = row
            values = "  ".join(f"{name} {value:.3g}" for name, value in row.items())
            print(f"{method:10s} K = {num_clients:7d}  {values}", flush=True)
    vmapped = measure_vmapped()
    print(f"{NUM_PROBLEMS} problems of {PROBLEM_CLIENTS} clients:", vmapped)
    result = {
        "machine": describe_machine(),
        "date": time.strftime("%Y-%m-%d"),
        "by_method_and_clients": rows,
        f"{NUM_PROBLEMS}_problems_of_{PROBLEM_CLIENTS}_clients": vmapped,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
