"""The time of each operation of the compiled step, from JAX's own profiler.

    python benchmarks/operation_profile.py [--models=0.27M-8x8,...] [--top=12]

One client at a time on one core: every operation of XLA is timed in place, and is named by the
instructions fused into it and by its layer. ``step_profile.py`` measures the same by removing
parts.
"""

import argparse
import collections
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.engines.models import MODELS  # noqa: E402

NUM_CLIENTS = 2
NUM_STEPS = {"0.27M-8x8": 16, "1.06M-8x8": 8, "1.06M-16x16": 4, "4.24M-32x32": 1}
"""Local steps of each client."""
KINDS = (  # the first one that is in an operation
    ("convolution", "convolutions"),
    ("dot", "matrix products"),
    ("custom-call", "matrix products"),
    ("reduce", "sums"),
    ("transpose", "transposes and copies"),
    ("copy", "transposes and copies"),
)


class Operation(NamedTuple):
    """An instruction of the compiled program.

    Attributes:
      shape: of its result.
      holds: the instructions fused into it, or itself.
      layer: the layer of the network.
    """

    shape: str
    holds: tuple[str, ...]
    layer: str

    @property
    def kind(self) -> str:
        """Its kind, from ``KINDS``."""
        return next((kind for held, kind in KINDS if held in self.holds), "elementwise")


def read_operations(hlo: str) -> dict[str, Operation]:
    """Returns the instructions of a compiled module's text, by name."""
    bodies, body = collections.defaultdict(dict), ""
    for line in hlo.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            body = line.removeprefix("ENTRY ").split(" ")[0].lstrip("%")
        elif match := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = (\S+(?: /\*.*?\*/\S+)*) ", line):
            bodies[body][match[1]] = line
    opcode = re.compile(r"[\])}] ([a-z][\w\-]*)\(")

    def operation(line: str) -> Operation:
        called = re.search(r"calls=%?([\w.\-]+)", line)
        inside = bodies[called[1]].values() if called else [line]
        held = tuple(found[1] for text in inside if (found := opcode.search(text)))
        layer = re.search(r'op_name="([^"]*)"', line)
        name = re.sub(r".*closed_call/|.*while/body/", "", layer[1]) if layer else ""
        return Operation(line.split(" = ")[1].split("{")[0], held, name)

    return {name: operation(line) for of in bodies.values() for name, line in of.items()}


def profile(name: str, top: int) -> dict[str, Any]:
    """Returns milliseconds per client-step by kind of operation, and prints them."""
    import jax
    import jax.numpy as jnp

    from benchmarks.engines.plain import make_ingredients
    from fedjax_diffusion import seed_to_key
    from fedjax_diffusion.federated import (
        ClientInputs,
        ClientMapping,
        LocalTraining,
        LocalWork,
        SharedInputs,
        make_client_map,
        make_train,
    )

    data, loss_fn, batch_fn, optimizer, init = make_ingredients(name, NUM_CLIENTS, "plain")
    work = LocalWork(MODELS[name].batch_size, local_steps=NUM_STEPS[name])
    train = make_train(LocalTraining(loss_fn, batch_fn, optimizer, work))
    client_map = make_client_map(ClientMapping())
    clients = jnp.arange(NUM_CLIENTS, dtype=jnp.int32)
    ones = jnp.ones(NUM_CLIENTS, jnp.int32)
    cohort = ClientInputs(clients, clients, jnp.ones(NUM_CLIENTS), ones, NUM_STEPS[name] * ones)
    shared = SharedInputs(seed_to_key(0), jnp.int32(0), init(seed_to_key(0)), data)
    program = jax.jit(lambda s, c: client_map(train, s, c)).lower(shared, cohort).compile()
    operations = read_operations(program.as_text() or "")
    jax.block_until_ready(program(shared, cohort))
    start = time.perf_counter()
    jax.block_until_ready(program(shared, cohort))
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(program(shared, cohort))
        (path,) = Path(folder).rglob("*.xplane.pb")
        times = sum_times(jax.profiler.ProfileData.from_file(str(path)), operations)
    per_step = 1e3 / (NUM_CLIENTS * NUM_STEPS[name])
    kinds: dict[str, float] = collections.defaultdict(float)
    for instruction, spent in times.items():
        kinds[operations[instruction].kind] += per_step * spent
    print(f"\n{name}: {per_step * seconds:.2f} ms per client-step on one core, without profiler")
    for kind, ms in by_value(kinds):
        print(f"  {kind:24s} {ms:9.3f} ms {ms / sum(kinds.values()):5.0%}")
    for instruction, spent in by_value(times)[:top]:
        found = operations[instruction]
        print(f"    {per_step * spent:8.3f} ms  {found.kind:22s} {found.shape:22s} {found.layer}")
    return {
        "model": name,
        "milliseconds_per_client_step": per_step * seconds,
        "milliseconds_by_kind": dict(by_value(kinds)),
    }


def by_value(times: dict[str, float]) -> list[tuple[str, float]]:
    """Returns the entries, sorted with the largest first."""
    return sorted(times.items(), key=lambda entry: -entry[1])


def sum_times(trace: Any, operations: dict[str, Operation]) -> dict[str, float]:
    """Returns the seconds in each instruction, except those that call others."""
    times: dict[str, float] = collections.defaultdict(float)
    for plane in trace.planes:
        for line in plane.lines:
            for event in line.events:
                found = operations.get(event.name)
                if found and not {"while", "call", "conditional"} & {*found.holds}:
                    times[event.name] += event.duration_ns / 1e9
    return times


def main() -> None:
    """Profiles the models and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--top", type=int, default=12, help="operations to print one by one")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # before JAX counts the cores
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    models = [profile(name, arguments.top) for name in arguments.models.split(",")]
    from fedjax_diffusion.experiment.compute import describe_machine

    content = {"date": time.strftime("%Y-%m-%d"), "machine": describe_machine(), "models": models}
    arguments.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
