"""The cost of one client-step in our engine and in others.

Every engine is a process that stays warm. The benchmark lets them work in turn, one at a time (or
one per core, if that is the engine), and takes medians. Ratios are valid only within one run.

    python benchmarks/engine.py                      # needs only this package
    python benchmarks/engine.py --torch_python=PATH --fedjax_python=PATH --flower_python=PATH
    python benchmarks/engine.py --cases=0.27M-8x8:8,1.06M-8x8:8 --output=/dev/null

PATH is the Python of an environment that has the baseline:

    python -m venv torch_env && torch_env/bin/pip install torch numpy
    python -m venv flower_env && flower_env/bin/pip install "flwr[simulation]" torch numpy
    git clone https://github.com/google/fedjax
    python -m venv fedjax_env && fedjax_env/bin/pip install -e . ./fedjax

The JSON contains the installed versions.
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
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

OURS = "ours"
PLAIN = "plain steps, all cores"
PER_CORE = "plain steps, a process per core"
LIMITS = (PLAIN, PER_CORE)


PACKAGES = {
    "torch": ("torch", "numpy"),
    "fedjax": ("fedjax", "jax", "numpy"),
    "flower": ("flwr", "ray", "torch", "numpy"),
}
"""Packages whose versions are recorded, by baseline."""


class Case(NamedTuple):
    """A model, a number of clients, the local steps of each, and the number of turns."""

    model: str
    num_clients: int
    num_steps: int
    num_turns: int

    def __str__(self):
        return f"{self.model}:{self.num_clients}"


CASES = (
    Case("0.27M-8x8", 4, 8, 5),
    Case("0.27M-8x8", 8, 8, 5),
    Case("0.27M-8x8", 64, 8, 5),
    Case("0.27M-8x8", 512, 8, 3),
    Case("1.06M-8x8", 8, 8, 5),
    Case("1.06M-16x16", 8, 8, 3),
    Case("4.24M-32x32", 4, 1, 3),
    Case("4.24M-32x32", 8, 1, 3),
)


class Engine:
    """The warm processes of one engine."""

    def __init__(self, commands: list[list[str]], num_client_steps: int):
        self._num_client_steps = num_client_steps
        # Files, because pipes would not be read while the engine works. They end with it.
        self._told = [tempfile.TemporaryFile("w+") for _ in commands]  # noqa: SIM115
        self._processes = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                bufsize=1,
            )
            for command, stderr in zip(commands, self._told, strict=True)
        ]
        self.loss = [self._read(i)[1] for i in range(len(commands))].pop()

    def _read(self, i: int) -> list[str]:
        stdout = self._processes[i].stdout
        assert stdout is not None
        line = stdout.readline().split()
        if not line:
            raise RuntimeError(self._read_told(i)[-2000:])
        return line

    def _read_told(self, i: int) -> str:
        self._told[i].seek(0)
        return self._told[i].read()

    def play(self) -> float:
        """Returns milliseconds per client-step of one turn; all processes work at once."""
        start = time.perf_counter()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
        for i in range(len(self._processes)):
            self._read(i)
        return 1e3 * (time.perf_counter() - start) / self._num_client_steps

    def stop(self) -> int | None:
        """Ends the processes and returns the first one's peak memory in MiB, if it reports one."""
        for process in self._processes:
            process.communicate()
        lines = [s for s in self._read_told(0).splitlines() if s.startswith("peak memory")]
        return int(lines[-1].split()[2]) if lines else None


def make_commands(case: Case, arguments) -> dict[str, tuple[list[list[str]], int]]:
    """Returns each engine's commands and its number of client-steps per turn."""
    total = case.num_clients * case.num_steps
    few = min(total, 64 if case.model != "4.24M-32x32" else 2)  # all plain steps are equal
    cores = sorted(os.sched_getaffinity(0))

    def module(python: str, name: str, *options: object) -> list[str]:
        return [python, "-m", f"benchmarks.engines.{name}", case.model, *map(str, options)]

    commands = {
        PLAIN: ([module(sys.executable, "plain", few)], few),
        PER_CORE: (
            [module(sys.executable, "plain", few, core) for core in cores],
            few * len(cores),
        ),
    }
    for way in arguments.ours.split(","):
        client_map, conv, devices = way.rsplit(":", 2)
        devices = len(cores) if devices == "all" else devices
        options = (case.num_clients, case.num_steps, client_map, conv, devices)
        commands[f"{OURS}, {way}"] = ([module(sys.executable, "ours", *options)], total)
    if case.num_clients > 8:
        return commands  # the others train clients one by one: the cost per client is constant
    options = (case.num_clients, case.num_steps)
    if case.model in arguments.naive.split(","):
        command = module(sys.executable, "naive", case.num_clients, 1)
        commands["naive vmap"] = ([command], case.num_clients)  # slow: only one step per client
    size = count_parameters(case.model)
    if arguments.fedjax_python:
        command = module(arguments.fedjax_python, "fedjax_steps", *options)
        commands["FedJAX"] = ([command], total)
    if arguments.torch_python:
        command = module(arguments.torch_python, "torch_steps", *options, size)
        commands["PyTorch"] = ([command], total)
    if arguments.flower_python and str(case) == arguments.flower_case:
        command = module(arguments.flower_python, "flower_rounds", *options, size)
        commands["Flower"] = ([command], total)
    return commands


def count_parameters(name: str) -> int:
    """Returns the size of our U-Net; a baseline's must be equal."""
    import jax

    from benchmarks.engines.plain import make_ingredients

    init = make_ingredients(name, 1, "stock")[-1]
    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))))


def list_versions(arguments) -> dict[str, dict[str, str]]:
    """Returns the versions of each baseline's packages, in its own environment."""
    versions = {}
    for baseline, packages in PACKAGES.items():
        if python := getattr(arguments, f"{baseline}_python"):
            command = [python, "-m", "benchmarks.engines.versions", *packages]
            versions[baseline] = json.loads(subprocess.check_output(command, cwd=ROOT, text=True))
    return versions


def measure(case: Case, arguments) -> dict:
    """Returns medians and peak memory of every engine on one case."""
    engines, skipped, memory = {}, {}, {}
    start, load = time.perf_counter(), os.getloadavg()[0]
    for name, (commands, num_client_steps) in make_commands(case, arguments).items():
        if arguments.rows and not any(name.startswith(row) for row in arguments.rows.split(";")):
            continue
        try:
            engines[name] = Engine(commands, num_client_steps)
        except RuntimeError as error:
            skipped[name] = str(error).strip().splitlines()[-1]
    turns = {name: [] for name in engines}
    for _ in range(arguments.turns or case.num_turns):
        for name, engine in engines.items():
            turns[name].append(engine.play())
    losses = {name: float(engine.loss) for name, engine in engines.items()}
    for name, engine in engines.items():
        if (peak := engine.stop()) is not None:
            memory[name] = peak
    medians = {name: statistics.median(times) for name, times in turns.items()}
    return {
        **case._asdict(),
        "num_turns": arguments.turns or case.num_turns,
        "load_before": load,
        "seconds": round(time.perf_counter() - start),
        "milliseconds_per_client_step": medians,
        "peak_memory_mib": memory,
        "loss": losses,
        "not_measured": skipped,
    }


def summarize(result: dict) -> None:
    """Adds the ratios of ours to the others and prints the case."""
    medians = result["milliseconds_per_client_step"]
    limits = [medians[name] for name in LIMITS if name in medians]
    ours = [ms for name, ms in medians.items() if name.startswith(OURS)]
    print(f"\n{result['model']}, {result['num_clients']} clients")
    if ours and limits:
        others = {name: ms for name, ms in medians.items() if not name.startswith(OURS)}
        result["ours_over"] = {"the limit": ours[0] / min(limits)}
        result["ours_over"] |= {name: ours[0] / ms for name, ms in others.items()}
        print(f"  ours / limit {result['ours_over']['the limit']:.2f}")
    for name, ms in medians.items():
        note = (
            f"  {result['peak_memory_mib'][name]} MiB" if name in result["peak_memory_mib"] else ""
        )
        print(f"  {name:40s} {ms:9.2f} ms   loss {result['loss'][name]:.3f}{note}")
    for name, reason in result["not_measured"].items():
        print(f"  {name:40s} not measured: {reason}")


def main() -> None:
    """Measures every case and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(map(str, CASES)), help="MODEL:CLIENTS,...")
    parser.add_argument("--rows", help="prefixes of the engines to measure, separated by ;")
    parser.add_argument("--ours", default="map:auto:all", help="variants CLIENT_MAP:CONV:DEVICES")
    naive = "0.27M-8x8,1.06M-16x16"
    parser.add_argument("--naive", default=naive, help="models with a measured naive vmap")
    parser.add_argument("--turns", type=int, help="of every engine; default: 5, for slow cases 3")
    for baseline in PACKAGES:
        parser.add_argument(f"--{baseline}_python")
    parser.add_argument("--flower_case", default="0.27M-8x8:8", help="the case that Flower runs")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    names = arguments.cases.split(",")
    if unknown := set(names) - {str(case) for case in CASES}:
        parser.error(f"--cases must be of {', '.join(map(str, CASES))}, got {unknown}")
    versions, results = list_versions(arguments), []
    for case in CASES:
        if str(case) in names:
            results.append(measure(case, arguments))
            summarize(results[-1])
    from fedjax_diffusion.experiment.compute import describe_machine

    content = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "engines": versions,
        "cases": results,
    }
    arguments.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
