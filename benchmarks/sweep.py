"""One sweep in one process against as many ``run`` processes, side by side.

python -m benchmarks.sweep [--output=benchmarks/sweep.json] [--rounds=10,30,100] [--num_seeds=8]
    [--num_evaluated=2000] [--num_processes=6] [--parts=sweep,evaluated,runs]

Digits, 8 clients, 4 local steps, Dirichlet 0.5: 8 methods with ``--num_seeds`` seeds at the first
number of rounds, without and with evaluation, and 2 methods with 2 seeds at the others. Each sweep
is a process of its own that compiles anew. Then the same command line once per point, at each
number of rounds, with a compile cache that has seen it: ``--num_processes`` points of the sweep are
played so, and their mean stands for all points. All in turn, on one machine. ``--parts`` measures
some of it; the file keeps the other parts.
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
PARTS = ("sweep", "evaluated", "runs")


def play_sweep(num_rounds: int, num_methods: int, num_seeds: int, num_evaluated: int) -> dict:
    """Returns the times of a sweep in this process, s, and its compilations by program.

    Args:
      num_rounds: of each point.
      num_methods: the last ones of ``METHODS``.
      num_seeds: of each method.
      num_evaluated: images drawn from each point; 0: no evaluation.
    """
    import jax

    from benchmarks.timed_calls import time_calls
    from fedjax_diffusion import expand, load_config, run_sweep
    from fedjax_diffusion.runs import records, runner
    from fedjax_diffusion.sweep import play
    from fedjax_diffusion.sweep.folder import open_sweep
    from fedjax_diffusion.sweep.listing import find_folders
    from fedjax_diffusion.sweep.play import PlayOptions

    compilations: dict[str, int] = {}
    compiling: list[float] = []
    evaluating: list[float] = []
    drawing: list[float] = []
    ends: list[float] = []

    def on_duration(event: str, duration_secs: float, **kwargs: Any) -> None:
        if event.endswith("backend_compile_duration"):
            name = str(kwargs.get("fun_name"))
            compilations[name] = compilations.get(name, 0) + 1
        if "/compile/" in event:
            compiling.append(duration_secs)

    play.evaluate = time_calls(play.evaluate, evaluating)
    runner.draw_grid = time_calls(runner.draw_grid, drawing)
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
            PlayOptions(is_evaluating=num_evaluated > 0),
            num_evaluated=num_evaluated or None,
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
        "num_evaluated": num_evaluated,
        "total_seconds": total,
        "compile_seconds": sum(compiling),
        "steps_seconds_per_point": steps,
        "evaluation_seconds_per_point": statistics.median(evaluating) if evaluating else None,
        "point_seconds": statistics.median(points_seconds[1:]),
        "overhead_seconds_per_point": statistics.median(overheads[1:]),
        "of_these_drawing_the_last_images": statistics.median(drawing[1:]),
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


def time_runs(folder: Path, num_rounds: int, num_processes: int) -> list[float]:
    """Returns the times of ``run`` processes whose programs are in the cache, s.

    Args:
      folder: of the runs and of the compile cache, which the first process, not counted, fills.
      num_rounds: of each run.
      num_processes: number of runs, each of another point.
    """
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    seconds = []
    for number in (0, *range(num_processes)):
        method, seed = METHODS[-1 - number % len(METHODS)], number // len(METHODS)
        changed = {"num_rounds": num_rounds, "seed": seed, "allocator.method": method}
        flags = [f"--config.{key}={value}" for key, value in (OVERRIDES | changed).items()]
        workdir = tempfile.mkdtemp(dir=folder)
        command = [sys.executable, "-m", "fedjax_diffusion", "run", *flags]
        command += ["--config=digits", f"--workdir={workdir}"]
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def compare(sweep: dict, run_seconds: list[float], num_points: int) -> dict:
    """Returns the ratio of the times of processes and of a sweep, for a number of points.

    A sweep of fewer points stands for one of all: its first point, and the median of the others.
    """
    first = sweep["total_seconds"] - sweep["point_seconds"] * (sweep["num_points"] - 1)
    whole = first + sweep["point_seconds"] * (num_points - 1)
    return {
        "num_rounds": sweep["num_rounds"],
        "steps_seconds_per_point": sweep["steps_seconds_per_point"],
        "run_processes_measured": len(run_seconds),
        "run_seconds_mean": statistics.mean(run_seconds),
        "num_points": num_points,
        "sweep_points_measured": sweep["num_points"],
        "sweep_seconds_of_all": whole,
        "times_faster": statistics.mean(run_seconds) * num_points / whole,
    }


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", default="benchmarks/sweep.json")
    parser.add_argument("--rounds", default="10,30,100")
    parser.add_argument("--num_seeds", type=int, default=8)
    parser.add_argument("--num_evaluated", type=int, default=2000)
    parser.add_argument("--num_processes", type=int, default=6)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--play", nargs=4, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        print(json.dumps(play_sweep(*arguments.play)))
        return
    from fedjax_diffusion.experiment.compute import describe_machine

    lengths = [int(number) for number in arguments.rounds.split(",")]
    num_points = len(METHODS) * arguments.num_seeds
    output, parts = Path(arguments.output), arguments.parts.split(",")
    is_whole = set(parts) == {*PARTS} or not output.exists()
    result = {} if is_whole else json.loads(output.read_text())
    origin = {
        "date": time.strftime("%Y-%m-%d"),
        "command": f"python -m benchmarks.sweep {' '.join(sys.argv[1:])}".rstrip(),
        "machine": describe_machine(),
    }
    if "runs" in parts:
        known = lengths if "sweep" in parts else _find_lengths(result)
        if missing := {*lengths} - {*known}:
            parser.error(f"--parts=runs needs sweeps of {sorted(missing)} rounds in {output}")

    def write(part: str, found: Any) -> None:
        result[part] = {**origin, "found": found}
        print(json.dumps({part: found}), flush=True)
        output.write_text(json.dumps(result, indent=2) + "\n")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "sweep" in parts:
            sizes = [(n, 2, 2) for n in lengths[1:]]
            sizes = [(lengths[0], len(METHODS), arguments.num_seeds), *sizes]
            write("sweeps", [start_sweep(folder, *size, 0) for size in sizes])
        if "evaluated" in parts:
            size = (lengths[0], len(METHODS), arguments.num_seeds, arguments.num_evaluated)
            write("evaluated_sweep", start_sweep(folder, *size))
        if "runs" in parts:
            of_length = {sweep["num_rounds"]: sweep for sweep in result["sweeps"]["found"]}
            against = []
            for num_rounds in lengths:
                run_seconds = time_runs(folder, num_rounds, arguments.num_processes)
                against.append(compare(of_length[num_rounds], run_seconds, num_points))
            write("against_run_processes", against)


def _find_lengths(result: dict[str, Any]) -> list[int]:
    """Returns the numbers of rounds of the sweeps that are measured already."""
    return [sweep["num_rounds"] for sweep in result["sweeps"]["found"]] if result else []


if __name__ == "__main__":
    main()
