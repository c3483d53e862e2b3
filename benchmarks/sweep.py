"""One sweep in one process against as many ``run`` processes, side by side.

python -m benchmarks.sweep [--output=benchmarks/sweep.json] [--rounds=10,30,100] [--num_seeds=8]

Digits, 8 clients, 4 local steps, Dirichlet 0.5: 8 methods with ``--num_seeds`` seeds at the first
number of rounds, evaluated and not, and 2 methods with 2 seeds at the others. Each sweep is a
process of its own that compiles anew. Then the same command line once per point, for 4 points, with
a compile cache that has seen them. All in turn, on one machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

METHODS = (
    "full_precision",
    *(f"fixed_bits:{bits}" for bits in (1, 2, 3, 4, 6, 8)),
    "on_demand",
)
OVERRIDES: dict[str, Any] = {
    "partition.num_clients": 8,
    "partition.name": "dirichlet",
    "partition.alpha": 0.5,
    "local_work.local_steps": 4,
    "sampling.every_rounds": 1000,
    "sampling.num_samples": 32,
    "checkpoint.every_rounds": 1000,
    "devices.min_bits": 1,
    "allocator.time_budget_seconds": 600.0,
}
NUM_EVALUATED = 2000


def play_sweep(num_rounds: int, num_methods: int, num_seeds: int, is_evaluating: bool) -> dict:
    """Returns the times of a sweep in this process, s, and its compilations by program."""
    import jax

    from fedjax_diffusion import expand, load_config, run_sweep
    from fedjax_diffusion.runs import records
    from fedjax_diffusion.sweep import play
    from fedjax_diffusion.sweep.folder import open_sweep
    from fedjax_diffusion.sweep.listing import find_folders
    from fedjax_diffusion.sweep.play import PlayOptions

    compilations: dict[str, int] = {}
    compiling: list[float] = []
    evaluating: list[float] = []
    ends: list[float] = []

    def on_duration(event: str, duration_secs: float, **kwargs: Any) -> None:
        if event.endswith("backend_compile_duration"):
            name = str(kwargs.get("fun_name"))
            compilations[name] = compilations.get(name, 0) + 1
        if "/compile/" in event:
            compiling.append(duration_secs)

    evaluate = play.evaluate

    def timed_evaluate(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        quality = evaluate(*args, **kwargs)
        evaluating.append(time.perf_counter() - start)
        return quality

    play.evaluate = timed_evaluate
    jax.monitoring.register_event_duration_secs_listener(on_duration)
    config = load_config("digits", OVERRIDES | {"num_rounds": num_rounds})
    points = expand(
        config,
        lambda h: h.product(
            [
                h.sweep("allocator.method", METHODS[-num_methods:]),
                h.sweep("seed", range(num_seeds)),
            ]
        ),
    )
    with tempfile.TemporaryDirectory() as workdir:
        start = time.perf_counter()
        run_sweep(
            config,
            points,
            workdir,
            PlayOptions(is_evaluating=is_evaluating),
            num_evaluated=NUM_EVALUATED,
            on_point=lambda *_: ends.append(time.perf_counter()),
        )
        total = time.perf_counter() - start
        lines = [records.read_metrics(folder) for folder in find_folders(open_sweep(workdir))]
    points_seconds = [end - begin for begin, end in zip([start, *ends], ends, strict=False)]
    rounds_seconds = [sum(line["wall_seconds"] for line in each) for each in lines]
    # The first point's rounds without the one that compiles.
    steps = statistics.median(rounds_seconds[1:])
    overheads = [
        seconds - rounds - (evaluating[i] if evaluating else 0.0)
        for i, (seconds, rounds) in enumerate(zip(points_seconds, rounds_seconds, strict=True))
    ]
    evaluations = sum(evaluating[1:]) + (statistics.median(evaluating[1:]) if evaluating else 0.0)
    ideal = sum(compiling) + steps + sum(rounds_seconds[1:]) + evaluations
    return {
        "num_rounds": num_rounds,
        "num_points": len(points),
        "is_evaluated": is_evaluating,
        "total_seconds": total,
        "compile_seconds": sum(compiling),
        "steps_seconds_per_point": steps,
        "evaluation_seconds_per_point": statistics.median(evaluating) if evaluating else None,
        "point_seconds": statistics.median(points_seconds[1:]),
        "overhead_seconds_per_point": statistics.median(overheads[1:]),
        "total_to_ideal": total / ideal,
        "compilations": {
            name: compilations.get(f"jit({name})", 0)
            for name in ("pure_step", "draw_on_one_device", "_compute_features")
        },
    }


def start_sweep(folder: Path, *arguments: object) -> dict:
    """Returns the times of ``play_sweep`` in a new process with an empty compile cache."""
    cache = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "benchmarks.sweep", "--play", *map(str, arguments)]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(answer.stdout.splitlines()[-1])


def time_runs(folder: Path, num_rounds: int) -> float:
    """Returns the median time of a ``run`` process whose programs are in the cache, s."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    seconds = []
    for is_warm in (False, True):
        for seed in (0, 1):
            for method in METHODS[-2:]:
                changed = {"num_rounds": num_rounds, "seed": seed, "allocator.method": method}
                flags = [f"--config.{key}={value}" for key, value in (OVERRIDES | changed).items()]
                workdir = tempfile.mkdtemp(dir=folder)
                command = [sys.executable, "-m", "fedjax_diffusion", "run", *flags]
                command += ["--config=digits", f"--workdir={workdir}"]
                start = time.perf_counter()
                subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
                if is_warm:
                    seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", default="benchmarks/sweep.json")
    parser.add_argument("--rounds", default="10,30,100")
    parser.add_argument("--num_seeds", type=int, default=8)
    parser.add_argument("--play", nargs=4, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        num_rounds, num_methods, num_seeds, is_evaluating = arguments.play
        print(json.dumps(play_sweep(num_rounds, num_methods, num_seeds, bool(is_evaluating))))
        return
    from fedjax_diffusion.experiment.compute import describe_machine

    shortest, *longer = [int(number) for number in arguments.rounds.split(",")]
    sweeps, against = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for is_evaluating in (0, 1):
            sweep = start_sweep(folder, shortest, len(METHODS), arguments.num_seeds, is_evaluating)
            sweeps.append(sweep)
            print(json.dumps(sweep), flush=True)
        for num_rounds in (shortest, *longer):
            if num_rounds != shortest:
                sweeps.append(start_sweep(folder, num_rounds, 2, 2, 0))
                print(json.dumps(sweeps[-1]), flush=True)
            sweep = sweeps[0] if num_rounds == shortest else sweeps[-1]
            run_seconds = time_runs(folder, num_rounds)
            num_points = len(METHODS) * arguments.num_seeds
            first = sweep["total_seconds"] - sweep["point_seconds"] * (sweep["num_points"] - 1)
            whole = first + sweep["point_seconds"] * (num_points - 1)
            against.append(
                {
                    "num_rounds": num_rounds,
                    "steps_seconds_per_point": sweep["steps_seconds_per_point"],
                    "run_seconds": run_seconds,
                    "sweep_seconds_of_all": whole,
                    "times_faster": run_seconds * num_points / whole,
                }
            )
            print(json.dumps(against[-1]), flush=True)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "sweeps": sweeps,
        "against_run_processes": against,
    }
    Path(arguments.output).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
