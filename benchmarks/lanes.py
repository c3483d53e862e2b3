"""A sweep in lanes against the same sweep point by point: runs x rounds per second.

python -m benchmarks.lanes [--output=benchmarks/lanes.json] [--lanes=1,64] [--seeds=8] [--rounds=20]
    [--clients=8] [--local_steps=20]

Digits by 8 methods with ``--seeds`` seeds, without evaluation. Each number of lanes is a process of
its own with a compile cache of its own; of one lane one point is enough. The
rate is that of the rounds after every lane's first one and before any run's last one, so it is
without compilation, and without the ends of runs where each lane plays one. The parts are seconds
of a call: the allocations of a pack's plans or baselines, and a pack's round on the devices.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

METHODS = (
    "on_demand",
    "full_precision",
    *(f"fixed_bits:{bits}" for bits in (1, 2, 3, 4, 6, 8)),
)

PARTS = {"_allocate": "allocations", "_play_round": "rounds of packs"}
"""Methods of ``Lanes`` that are timed."""


def play(num_lanes: int, num_seeds: int, num_rounds: int, changed: dict[str, str]) -> dict:
    """Returns the rate of a sweep in this process, runs x rounds per second, and its parts."""
    import jax

    from benchmarks.session.turns import count_compile_seconds, count_peak_bytes
    from benchmarks.timed_calls import time_calls
    from fedjax_diffusion import expand, load_config, run_sweep
    from fedjax_diffusion.experiment.compute import describe_machine
    from fedjax_diffusion.runs import metrics_log
    from fedjax_diffusion.sweep import lanes
    from fedjax_diffusion.sweep.play import PlayOptions

    ends: list[tuple[float, int]] = []  # of rounds, with their number
    parts: dict[str, list[float]] = {part: [] for part in PARTS.values()}

    def mark(log: Any, record: dict) -> None:
        append(log, record)
        ends.append((time.perf_counter(), record["round"]))

    append = metrics_log.MetricsLog.append
    setattr(metrics_log.MetricsLog, "append", mark)  # noqa: B010
    for name, part in PARTS.items():
        setattr(lanes.Lanes, name, time_calls(getattr(lanes.Lanes, name), parts[part]))
    config = load_config(
        "digits",
        {
            "num_rounds": num_rounds,
            "sweep.lanes": str(num_lanes),
            "sampling.every_rounds": num_rounds,
            "sampling.num_samples": 32,
            "devices.min_bits": 1,
            "allocator.time_budget_seconds": 600.0,
            **changed,
        },
    )
    axes = {"allocator.method": METHODS, "seed": range(num_seeds)}
    points = expand(config, lambda h: h.product([h.sweep(k, v) for k, v in axes.items()]))
    points = points if num_lanes > 1 else points[:1]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lanes-") as folder:
        result = run_sweep(config, points, Path(folder), PlayOptions(is_evaluating=False))
        whole = time.perf_counter() - start
    assert not result.failures, result.failures
    times = np.array([end for end, _ in ends])
    begun = times[min(num_lanes, len(points)) - 1]
    over = max(end for end, round in ends if round == num_rounds - 2)
    num_counted = int(((times > begun) & (times <= over)).sum())
    return {
        "lanes": num_lanes,
        "points": len(points),
        "rounds": num_rounds,
        "runs_times_rounds_per_second": num_counted / (over - begun),
        "whole_seconds": whole,
        "compile_seconds": count_compile_seconds(),
        "seconds_after_the_last_round": start + whole - times[-1],
        "median_part_seconds": {
            name: float(np.median(values)) for name, values in parts.items() if values
        },
        "peak_memory_bytes": count_peak_bytes(),
        "machine": describe_machine(),
        "jax_devices": len(jax.local_devices()),
    }


def main() -> None:
    """Plays every number of lanes in a process of its own, and writes the file after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--lanes", default="1,64")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20, help=">= 3")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--local_steps", type=int, default=20)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    changed = {
        "partition.num_clients": str(arguments.clients),
        "local_work.local_steps": str(arguments.local_steps),
    }
    if arguments.child is not None:
        print(json.dumps(play(arguments.child, arguments.seeds, arguments.rounds, changed)))
        return
    is_there = arguments.output.exists()
    content: dict[str, Any] = json.loads(arguments.output.read_text()) if is_there else {}
    content |= {  # parts of ``lane_parts`` stay
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m benchmarks.lanes " + " ".join(sys.argv[1:]),
        "cases": [],
    }
    for num_lanes in arguments.lanes.split(","):
        with tempfile.TemporaryDirectory(prefix="lanes-cache-") as cache:
            command = [sys.executable, "-m", "benchmarks.lanes", *sys.argv[1:]]
            environment = {**os.environ, "XDG_CACHE_HOME": cache}
            printed = subprocess.check_output(
                [*command, f"--child={num_lanes}"], env=environment, text=True
            )
        case = json.loads(printed.splitlines()[-1])
        content["cases"].append(case)
        arguments.output.write_text(json.dumps(content, indent=1) + "\n")
        print(json.dumps({k: v for k, v in case.items() if k != "machine"}), flush=True)


if __name__ == "__main__":
    main()
