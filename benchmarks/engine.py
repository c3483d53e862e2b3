"""What one client-step costs, in our engine and in others, side by side.

Every engine is a process that stays warm; the benchmark lets them work in turn, one at a time (or
one per core, where that is the engine), and takes medians. Ratios hold within one run only.

    python benchmarks/engine.py                      # what needs this package alone
    python benchmarks/engine.py --torch_python=PATH --fedjax_python=PATH

PATH is the Python of an environment that has the opponent:

    python -m venv torch_env && torch_env/bin/pip install torch numpy     # the CPU build
    git clone https://github.com/google/fedjax
    python -m venv fedjax_env && fedjax_env/bin/pip install -e . ./fedjax
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.engines.models import MODELS  # noqa: E402

OURS = "ours"
PLAIN = "plain steps, all cores"
PER_CORE = "plain steps, a process per core"
LIMITS = (PLAIN, PER_CORE)


class Case(NamedTuple):
    """A model, a number of clients and local steps of each."""

    model: str
    num_clients: int
    num_steps: int


CASES = (
    Case("0.27M-8x8", 4, 8),
    Case("0.27M-8x8", 8, 8),
    Case("0.27M-8x8", 64, 8),
    Case("0.27M-8x8", 512, 8),
    Case("1.06M-8x8", 8, 8),
    Case("1.06M-16x16", 8, 8),
    Case("4.24M-32x32", 4, 1),
    Case("4.24M-32x32", 8, 1),
)


class Engine:
    """The processes of one engine, warm and waiting."""

    def __init__(self, commands: list[list[str]], num_client_steps: int):
        self._num_client_steps = num_client_steps
        self._processes = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
            for command in commands
        ]
        self.loss = [self._read(process)[1] for process in self._processes].pop()

    def _read(self, process: subprocess.Popen) -> list[str]:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline().split()
        if not line:
            raise RuntimeError(process.stderr.read()[-2000:])
        return line

    def play(self) -> float:
        """Returns milliseconds per client-step of one turn; all processes work at once."""
        start = time.perf_counter()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
        for process in self._processes:
            self._read(process)
        return 1e3 * (time.perf_counter() - start) / self._num_client_steps

    def stop(self) -> int | None:
        """Ends the processes and returns the first one's peak memory in MiB, if it told."""
        outputs = [process.communicate()[1] for process in self._processes]
        told = [line for line in outputs[0].splitlines() if line.startswith("peak memory")]
        return int(told[-1].split()[2]) if told else None


def make_commands(case: Case, arguments) -> dict[str, tuple[list[list[str]], int]]:
    """Returns, by engine, its commands and how many client-steps one turn of it takes."""
    total = case.num_clients * case.num_steps
    few = min(total, 64 if case.model != "4.24M-32x32" else 4)  # plain steps are all alike
    cores = sorted(os.sched_getaffinity(0))

    def module(python: str, name: str, *options: object) -> list[str]:
        return [python, "-m", f"benchmarks.{name}", case.model, *map(str, options)]

    commands = {
        PLAIN: ([module(sys.executable, "engines.plain", few)], few),
        PER_CORE: (
            [module(sys.executable, "engines.plain", few, core) for core in cores],
            few * len(cores),
        ),
    }
    for way in arguments.ours.split(","):
        client_map, conv, devices = way.rsplit(":", 2)
        devices = len(cores) if devices == "all" else devices
        options = (case.num_clients, case.num_steps, client_map, conv, devices)
        commands[f"{OURS}, {way}"] = ([module(sys.executable, "engines.ours", *options)], total)
    if case.num_clients > 8:
        return commands  # opponents take clients one after the other: more of them cost the same
    options = (case.num_clients, case.num_steps)
    if case.model in arguments.naive.split(","):
        command = module(sys.executable, "rival_engines.naive", case.num_clients, 1)
        commands["naive vmap"] = ([command], case.num_clients)  # slow: one step of each client
    if arguments.fedjax_python:
        command = module(arguments.fedjax_python, "rival_engines.fedjax_steps", *options)
        commands["FedJAX"] = ([command], total)
    if arguments.torch_python:
        size = count_parameters(case.model)
        command = module(arguments.torch_python, "rival_engines.torch_steps", *options, size)
        commands["PyTorch"] = ([command], total)
    return commands


def count_parameters(name: str) -> int:
    """Returns the size of our U-Net; an opponent's must be the same."""
    import jax

    from benchmarks.engines.plain import make_ingredients

    init = make_ingredients(name, 1, "stock")[-1]
    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))))


def measure(case: Case, arguments) -> dict:
    """Returns medians and peak memory of every engine on one case."""
    engines, skipped, memory = {}, {}, {}
    for name, (commands, num_client_steps) in make_commands(case, arguments).items():
        if arguments.rows and not any(name.startswith(row) for row in arguments.rows.split(";")):
            continue
        try:
            engines[name] = Engine(commands, num_client_steps)
        except RuntimeError as error:
            skipped[name] = str(error).strip().splitlines()[-1]
    turns = {name: [] for name in engines}
    for _ in range(arguments.repeats):
        for name, engine in engines.items():
            turns[name].append(engine.play())
    losses = {name: float(engine.loss) for name, engine in engines.items()}
    for name, engine in engines.items():
        if (peak := engine.stop()) is not None:
            memory[name] = peak
    medians = {name: statistics.median(times) for name, times in turns.items()}
    return {
        **case._asdict(),
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
    parser.add_argument("--models", default=",".join(MODELS), help="of these, separated by commas")
    parser.add_argument("--clients", default="4,8,64,512", help="numbers of clients")
    parser.add_argument("--rows", help="only engines whose names begin so, separated by ;")
    parser.add_argument("--ours", default="map:auto:all", help="ways CLIENT_MAP:CONV:DEVICES")
    parser.add_argument("--naive", default="", help="models whose naive vmap is measured, too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--torch_python")
    parser.add_argument("--fedjax_python")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    clients = [int(number) for number in arguments.clients.split(",")]
    results = []
    for case in CASES:
        if case.model in arguments.models.split(",") and case.num_clients in clients:
            results.append(measure(case, arguments))
            summarize(results[-1])
    from fedjax_diffusion.hardware import describe_machine

    content = {"date": time.strftime("%Y-%m-%d"), "machine": describe_machine(), "cases": results}
    arguments.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
