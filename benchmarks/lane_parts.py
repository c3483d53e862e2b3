"""Parts of the cost of lanes, each by itself, kept in lanes.json: planner, memory, images.

python -m benchmarks.lane_parts planner|memory|images [--output=benchmarks/lanes.json]

Planner: a round of 64 lanes of 8 clients by 6 methods. All plans: conditions, forecasts, problems,
allocations and costs of the baselines, as lanes do them. Together and in turn: the allocations
alone, in one call and lane by lane.
Memory: the bytes that XLA plans for a round of 1, 8 and 64 lanes of the 0.27 M model, one or eight
of them at once; nothing is run. Images: a batch of each of as many runs as there are devices, in
one call and run by run.
"""

import argparse
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from benchmarks.session.cases import make_case, make_way
from fedjax_diffusion import seed_to_key
from fedjax_diffusion.allocation.allocator import allocate_each, allocate_pairs
from fedjax_diffusion.experiment.compute import ComputeConfig, describe_machine, start_backend
from fedjax_diffusion.experiment.pack_sampling import Drawing, draw_together
from fedjax_diffusion.experiment.packs import LaneInputs, find_pack_program
from fedjax_diffusion.experiment.programs import find_round_program, list_rates
from fedjax_diffusion.federated import (
    RUN_AXIS,
    LocalWork,
    RunMapping,
    UploadStatistics,
    gather_inputs,
)
from fedjax_diffusion.host.turns import Ask, take_turns
from fedjax_diffusion.planning.planner import RoundPlan
from fedjax_diffusion.sweep import lanes

MODEL, NUM_CLIENTS = "0.27M-8x8", 8
METHODS = (
    *("largest", "on_demand", "full_precision", "fixed_bits:4", "fixed_bits:8"),
    "full_precision:max_frequency",
)
NUM_LANES, NUM_CALLS, NUM_TURNS = 64, 10, 10
PACKS = ((1, None), (8, None), (64, None), (64, 8))
"""Lanes, and how many of them at once."""


def measure_planner() -> dict[str, Any]:
    """Returns the milliseconds of the allocations of a round, and of all its plans and costs."""
    scenario = make_case(MODEL, NUM_CLIENTS, 20).scenario
    others = tuple(method for method in METHODS if method != "on_demand")
    scenario = scenario.replace_allocator(method="on_demand", baselines=others)
    draw, plan = scenario.make_draw_conditions(), scenario.make_planner()
    measured = np.geomspace(1e3, 1e-3, 17, dtype=np.float32) * np.ones((NUM_CLIENTS, 1), np.float32)

    pack = lanes.LanesConfig(NUM_LANES, 1, RunMapping(), METHODS)
    key = scenario.run_key
    planned: dict[int, RoundPlan] = {}

    def plan_all() -> None:
        def play(ask: Ask, round: int) -> None:
            statistics, conditions = UploadStatistics(round, measured, 10.0), draw(key, round)
            one = plan(key, statistics, None, conditions, lanes._make_solver(ask))
            assert len(one.baselines) == len(others)
            planned[round] = one

        players = [functools.partial(play, round=round) for round in range(NUM_LANES)]
        with lanes.Lanes(pack) as common:
            take_turns(players, common.answer)

    def allocate_together() -> None:
        problems = [one.problem for one in planned.values()]
        asked = [problem for problem in problems for _ in METHODS]
        methods = METHODS * len(problems)
        solved = allocate_pairs(asked, methods, [None] * len(asked), among=METHODS)
        np.asarray(solved.num_bits)

    def allocate_in_turn() -> None:
        for one in planned.values():
            np.asarray(allocate_each(one.problem, METHODS, None).num_bits)

    ways = {"all plans": plan_all, "together": allocate_together, "in turn": allocate_in_turn}
    return {
        "lanes": NUM_LANES,
        "clients": NUM_CLIENTS,
        "methods": METHODS,
        "milliseconds": _take_turns(ways, NUM_CALLS),
    }


def measure_memory() -> dict[str, Any]:
    """Returns the bytes of packs' compiled rounds, from XLA's plan; nothing is run."""
    case = make_case(MODEL, NUM_CLIENTS, 20)
    settings = case.learner.describe_round(make_way("map/plain"), case.batch_size)
    rates, data, key = list_rates(case.config), case.data, seed_to_key(0)
    init = find_round_program(settings).init
    state = jax.eval_shape(lambda key: init(key, NUM_CLIENTS, rates), key)
    inputs = gather_inputs(
        np.arange(NUM_CLIENTS, dtype=np.int32),
        np.full(NUM_CLIENTS, 8),
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
        step: Any = find_pack_program(settings, mapping).step
        is_asked = jax.ShapeDtypeStruct((num_lanes,), bool)
        lowered = step.lower(*pack, is_asked, data.images, data.labels)
        start = time.perf_counter()
        planned = lowered.compile({"xla_backend_optimization_level": 0}).memory_analysis()
        row = {
            "lanes": num_lanes,
            "at_once": chunk_size or 1,
            "state_bytes": sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(pack[0])),
            "argument_bytes": planned.argument_size_in_bytes,
            "output_bytes": planned.output_size_in_bytes,
            "shared_bytes": planned.alias_size_in_bytes,
            "temporary_bytes": planned.temp_size_in_bytes,
            "compile_seconds": time.perf_counter() - start,
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return {"packs": rows}


def measure_images() -> dict[str, Any]:
    """Returns the milliseconds of a batch for each of as many runs as there are devices."""
    learner = make_case(MODEL, NUM_CLIENTS, 20).learner
    compute = make_way("map/plain")
    program = learner.find_sampler_program(compute)
    shapes = learner.make_task(compute).find_shapes()
    params = jax.tree.map(lambda x: jnp.full(x.shape, 0.01, x.dtype), shapes)
    num_runs = jax.local_device_count()
    mesh = jax.make_mesh((num_runs,), (RUN_AXIS,), axis_types=(AxisType.Auto,))
    keys = [jax.random.split(seed_to_key(run), 1) for run in range(num_runs)]
    drawings = [Drawing(program, key, None, params, 1) for key in keys]
    ways = {
        "together": lambda: draw_together(drawings, mesh, num_runs),
        "in turn": lambda: [np.asarray(program.draw_batches(key, None, params)) for key in keys],
    }
    return {
        "runs": num_runs,
        "images": program.batch_size,
        "milliseconds": _take_turns(ways, NUM_TURNS),
    }


def _take_turns(ways: dict[str, Callable[[], Any]], num_turns: int) -> dict[str, dict[str, float]]:
    """Returns the milliseconds of each way, after a first call that compiles.

    Median and least of the wall clock, and the median of the processors' time of all threads, which
    other work beside it changes less.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(num_turns + 1):
        for name, call in ways.items():
            start = time.perf_counter(), time.process_time()
            call()
            taken[name].append(
                (1e3 * (time.perf_counter() - start[0]), 1e3 * (time.process_time() - start[1]))
            )
    kept = {name: np.array(values[1:]) for name, values in taken.items()}
    return {
        name: {
            "median": float(np.median(values[:, 0])),
            "least": float(values[:, 0].min()),
            "median_of_processors": float(np.median(values[:, 1])),
        }
        for name, values in kept.items()
    }


PARTS = {"planner": measure_planner, "memory": measure_memory, "images": measure_images}


def main() -> None:
    """Measures a part and puts it into the file, whose other parts stay."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("lanes.json"))
    arguments = parser.parse_args()
    start_backend(ComputeConfig(), NUM_CLIENTS)
    made = {
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python -m benchmarks.lane_parts", *sys.argv[1:]]),
        "load_before": os.getloadavg()[0],
        **PARTS[arguments.part](),
        "machine": describe_machine(),
    }
    content = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    arguments.output.write_text(json.dumps(content | {arguments.part: made}, indent=1) + "\n")
    print(json.dumps(made))


if __name__ == "__main__":
    main()
