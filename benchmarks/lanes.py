"""A sweep in lanes against the same sweep point by point: runs x rounds per second.

python -m benchmarks.lanes [--output=benchmarks/lanes.json] [--lanes=1,64] [--seeds=8] [--rounds=20]
    [--clients=8] [--local_steps=20]
python -m benchmarks.lanes --part=planner
python -m benchmarks.lanes --part=memory

Digits by 8 methods with ``--seeds`` seeds, without evaluation. Each number of lanes is a process of
its own with a compile cache of its own; of one lane one point is enough. The
rate is that of the rounds after every lane's first one, so it is without compilation. The parts of
a pack's round are seconds on the host: the allocations of plans and baselines, handing over the
round, and waiting for the devices with all that is done for each run.

The planner: the allocations of 64 lanes of 8 clients by 6 methods in one call. Memory: the bytes
that XLA plans for a round of 1, 8 and 64 lanes of the 0.27 M model, one or eight of them at once.
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

METHODS = (
    "on_demand",
    "full_precision",
    *(f"fixed_bits:{bits}" for bits in (1, 2, 3, 4, 6, 8)),
)
PLANNED = (
    *("largest", "on_demand", "full_precision", "fixed_bits:4", "fixed_bits:8"),
    "full_precision:max_frequency",
)
NUM_PLANNED, NUM_CALLS = 64, 30
PACKS = ((1, None), (8, None), (64, None), (8, 8), (64, 8))
"""Lanes, and how many of them at once."""


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

    ends: list[float] = []
    parts: dict[str, list[float]] = {"allocations": [], "handing over": []}

    def mark(log: Any, record: dict) -> None:
        append(log, record)
        ends.append(time.perf_counter())

    append = metrics_log.MetricsLog.append
    setattr(metrics_log.MetricsLog, "append", mark)  # noqa: B010
    names = {"_allocate": "allocations", "_step": "handing over"}
    for name, part in names.items():
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
    first = min(num_lanes, len(points))
    seconds = ends[-1] - ends[first - 1]
    num_pack_rounds = max(1, len(parts["handing over"]))
    return {
        "lanes": num_lanes,
        "points": len(points),
        "rounds": num_rounds,
        "runs_times_rounds_per_second": (len(ends) - first) / seconds,
        "whole_seconds": whole,
        "compile_seconds": count_compile_seconds(),
        "seconds_per_pack_round": seconds / max(1, num_pack_rounds - 1),
        "part_seconds_per_pack_round": {
            name: (sum(values) - max(values, default=0.0)) / max(1, num_pack_rounds - 1)
            for name, values in parts.items()
        },
        "peak_memory_bytes": count_peak_bytes(),
        "machine": describe_machine(),
        "jax_devices": len(jax.local_devices()),
    }


def measure_planner() -> dict[str, Any]:
    """Returns the milliseconds of a call for all lanes, and of a call for each lane."""
    import numpy as np

    from benchmarks.session.cases import make_case
    from benchmarks.timed_calls import time_calls
    from fedjax_diffusion.allocation.allocator import allocate_each, allocate_pairs
    from fedjax_diffusion.experiment.compute import describe_machine
    from fedjax_diffusion.federated import UploadStatistics
    from fedjax_diffusion.host.platforms import prepare_platforms

    prepare_platforms()
    scenario = make_case("0.27M-8x8", 8, 20).scenario.replace_allocator(baselines=())
    draw, plan = scenario.make_draw_conditions(), scenario.make_planner()
    measured = np.geomspace(1e3, 1e-3, 17, dtype=np.float32) * np.ones((8, 1), np.float32)
    problems = []
    for round in range(NUM_PLANNED):
        statistics = UploadStatistics(round, measured, np.float32(10.0))
        conditions = draw(scenario.run_key, round)
        problems.append(plan(scenario.run_key, statistics, None, conditions).problem)
    pairs = [(problem, method) for problem in problems for method in PLANNED]
    no_facts = [None] * len(pairs)

    def allocate_together() -> None:
        solved = allocate_pairs(*map(list, zip(*pairs, strict=True)), no_facts)
        np.asarray(solved.num_bits)

    def allocate_in_turn() -> None:
        for problem in problems:
            np.asarray(allocate_each(problem, PLANNED, None).num_bits)

    milliseconds = {}
    for name, call in (("together", allocate_together), ("in turn", allocate_in_turn)):
        seconds: list[float] = []
        timed = time_calls(call, seconds)
        for _ in range(NUM_CALLS + 1):
            timed()
        kept = 1e3 * np.array(seconds[1:])  # the first one compiles
        milliseconds[name] = {"median": float(np.median(kept)), "least": float(kept.min())}
    return {
        "lanes": NUM_PLANNED,
        "clients": 8,
        "methods": PLANNED,
        "milliseconds": milliseconds,
        "load": os.getloadavg()[0],
        "machine": describe_machine(),
    }


def measure_memory() -> dict[str, Any]:
    """Returns the bytes of packs' compiled rounds, from XLA's plan; nothing is run."""
    import jax
    import numpy as np

    from benchmarks.session.cases import make_case, make_way
    from fedjax_diffusion import seed_to_key
    from fedjax_diffusion.experiment.compute import describe_machine
    from fedjax_diffusion.experiment.packs import LaneInputs, find_pack_program
    from fedjax_diffusion.experiment.programs import find_round_program, list_rates
    from fedjax_diffusion.federated import LocalWork, RunMapping, gather_inputs
    from fedjax_diffusion.host.platforms import prepare_platforms

    prepare_platforms()
    case = make_case("0.27M-8x8", 8, 20)
    settings = case.learner.describe_round(make_way("map/plain"), case.batch_size)
    rates, data, key = list_rates(case.config), case.data, seed_to_key(0)
    state = jax.eval_shape(lambda key: find_round_program(settings).init(key, 8, rates), key)
    inputs = gather_inputs(
        np.arange(8, dtype=np.int32),
        np.full(8, 8),
        data.num_examples,
        LocalWork(case.batch_size, case.num_steps),
    )
    lane = LaneInputs(jax.random.key_data(key), data.indices, data.num_examples, rates)
    rows = []
    for num_lanes, chunk_size in PACKS:
        mapping = RunMapping("map") if chunk_size is None else RunMapping("chunked", chunk_size)
        pack = jax.tree.map(
            lambda x, n=num_lanes: jax.ShapeDtypeStruct((n, *x.shape), x.dtype),
            (state, lane, inputs),
        )
        lowered = find_pack_program(settings, mapping).step.lower(*pack, data.images, data.labels)
        start = time.perf_counter()
        planned = lowered.compile({"xla_backend_optimization_level": 0}).memory_analysis()
        rows.append(
            {
                "lanes": num_lanes,
                "at_once": chunk_size or 1,
                "state_bytes": sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(pack[0])),
                "argument_bytes": planned.argument_size_in_bytes,
                "output_bytes": planned.output_size_in_bytes,
                "shared_bytes": planned.alias_size_in_bytes,
                "temporary_bytes": planned.temp_size_in_bytes,
                "compile_seconds": time.perf_counter() - start,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return {"packs": rows, "machine": describe_machine()}


MEASURED_HERE = {"planner": measure_planner, "memory": measure_memory}


def main() -> None:
    """Plays every number of lanes in a process of its own, and writes the file after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--lanes", default="1,64")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--local_steps", type=int, default=20)
    parser.add_argument("--part", choices=("sweep", *MEASURED_HERE), default="sweep")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    changed = {
        "partition.num_clients": str(arguments.clients),
        "local_work.local_steps": str(arguments.local_steps),
    }
    if arguments.child is not None:
        print(json.dumps(play(arguments.child, arguments.seeds, arguments.rounds, changed)))
        return
    made = {
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python -m benchmarks.lanes", *sys.argv[1:]]),
    }
    is_there = arguments.output.exists()
    content: dict[str, Any] = json.loads(arguments.output.read_text()) if is_there else {}
    if arguments.part in MEASURED_HERE:
        content[arguments.part] = made | MEASURED_HERE[arguments.part]()
        arguments.output.write_text(json.dumps(content, indent=1) + "\n")
        print(json.dumps(content[arguments.part]))
        return
    content |= made | {"cases": []}
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
