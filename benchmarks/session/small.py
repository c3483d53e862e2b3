"""The small model, 0.27M-8x8: 8, 64 and 512 clients by every way and by a run's own choice.

python -m benchmarks.session.small --output=FOLDER [--tiny]
"""

import dataclasses
import functools
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.session.cases import Case, make_case, make_way
from benchmarks.session.child import end_on_request
from benchmarks.session.pytorch import measure_torch
from benchmarks.session.record import Part, Values
from benchmarks.session.turns import make_round, make_scan, make_steps, time_turns
from fedjax_diffusion.data import make_load_resident
from fedjax_diffusion.experiment.autotune import Trials, count_load, tune
from fedjax_diffusion.experiment.compute import ComputeConfig, resolve
from fedjax_diffusion.host.platforms import prepare_platforms

MODEL, TINY_MODEL = "0.27M-8x8", "tiny-8x8"
CLIENTS = (8, 64, 512)
CHUNK = 64
NUM_STEPS, NUM_TURNS = 20, 5
FEW_STEPS, FEW_TURNS = 2, 2
"""Steps and turns of many clients that are trained one after the other."""


def measure_auto(case: Case, num_turns: int) -> Values:
    """Returns a run's own choice, the time to choose, and the choice's speed."""
    asked = ComputeConfig(cpu_devices=1)
    cohort = np.arange(case.num_clients, dtype=np.int32)
    load_first = functools.partial(make_load_resident(case.data), cohort)
    trials = Trials(case.learner, case.scenario, case.data, load_first)
    load = functools.partial(count_load, case.learner, case.scenario, asked)
    start = time.perf_counter()
    guess = resolve(asked, case.num_clients, count_load=load)
    choice = tune(asked, guess, trials)
    chosen = {
        "tuning_seconds": time.perf_counter() - start,
        "guess": guess.describe(),
        "choice": choice.compute.describe(),
        "compute": dataclasses.asdict(choice.compute),
    }
    play = functools.partial(make_round, case, choice.compute, choice.simulator)
    return chosen | time_turns(play, case.client_steps, num_turns)


def measure_way(case: Case, way: str, num_turns: int) -> Values:
    """Returns the speed of a way."""
    return time_turns(lambda: make_round(case, make_way(way)), case.client_steps, num_turns)


def measure_scan(case: Case, conv: str, width: int, num_turns: int) -> Values:
    """Returns the speed of plain steps in one program for ``width`` parallel models."""
    compute = make_way(f"map/{conv}")
    return time_turns(lambda: make_scan(case, compute, width), case.client_steps, num_turns)


def measure_clients(part: Part, model: str, num_clients: int, num_steps: int, turns: int) -> None:
    """Measures one number of clients, beginning with the way that is likely the best."""
    K = num_clients
    case = make_case(model, K, num_steps)

    def way(text: str) -> None:
        part.measure(f"K={K}, {text}", lambda: measure_way(case, text, turns))

    def scan(conv: str, width: int) -> None:
        name = f"K={K}, scan x{width}/{conv}"
        part.measure(name, lambda: measure_scan(case, conv, width, turns))

    part.measure(f"K={K}, auto", lambda: measure_auto(case, turns))
    way("vmap/matmul")
    scan("matmul", K)
    if K > CHUNK:
        way(f"chunked:{CHUNK}/matmul")
        scan("matmul", CHUNK)


def measure_others(part: Part, model: str, num_clients: int, num_steps: int, turns: int) -> None:
    """Measures the ways that are not expected to be the best."""
    K = num_clients
    case = make_case(model, K, num_steps)
    part.measure(f"K={K}, vmap/stock", lambda: measure_way(case, "vmap/stock", turns))
    is_many = K > CHUNK
    few = make_case(model, K, min(num_steps, FEW_STEPS)) if is_many else case
    few_turns = min(turns, FEW_TURNS) if is_many else turns
    part.measure(f"K={K}, map/stock", lambda: measure_way(few, "map/stock", few_turns))
    if not is_many:
        name = f"K={K}, scan x1/stock"
        part.measure(name, lambda: measure_scan(case, "stock", 1, turns))


def main(argv: Sequence[str] | None = None) -> None:
    """Measures every number of clients, then plain steps and PyTorch."""
    prepare_platforms()
    part = Part.open("small", argv)
    is_tiny = part.setting.is_tiny
    model, clients = (TINY_MODEL, (2,)) if is_tiny else (MODEL, CLIENTS)
    steps, turns = (2, 1) if is_tiny else (NUM_STEPS, NUM_TURNS)
    for K in clients:
        measure_clients(part, model, K, steps, turns)
    case = make_case(model, clients[0], steps)
    part.measure("PyTorch eager", lambda: measure_torch(part, case, 5 * steps, 60.0, turns=turns))
    for K in clients:
        measure_others(part, model, K, steps, turns)
    part.measure(
        "plain steps, one dispatch each",
        lambda: time_turns(
            lambda: make_steps(case, make_way("map/stock")), case.client_steps, turns
        ),
    )
    part.complete()


if __name__ == "__main__":
    end_on_request()
    main()
