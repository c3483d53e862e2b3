"""Packs of runs in one program: 0.27M-8x8, 8 clients; runs x rounds per second, memory.

python -m benchmarks.session.lanes --output=FOLDER [--tiny]
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from benchmarks.session.cases import Case, make_case, make_way
from benchmarks.session.child import end_on_request
from benchmarks.session.record import Part, Values
from benchmarks.session.turns import Turn, make_round, time_turns
from fedjax_diffusion import seed_to_key
from fedjax_diffusion.experiment.packs import LaneInputs, Pack, find_pack_program
from fedjax_diffusion.experiment.programs import find_round_program, list_rates
from fedjax_diffusion.federated import LocalWork, RunMapping, gather_inputs
from fedjax_diffusion.host.platforms import prepare_platforms

MODEL, TINY_MODEL = "0.27M-8x8", "tiny-8x8"
NUM_CLIENTS, NUM_STEPS, NUM_TURNS = 8, 20, 3
CALLS = "calls"
"""Of the single run's program, one for each run."""
WAYS = (  # lanes, runs by, clients by / convolutions by; in order of importance
    (1, CALLS, "vmap/matmul"),
    (64, "vmap", "vmap/matmul"),
    (8, "vmap", "vmap/matmul"),
    (64, "vmap", "map/matmul"),
    (64, "chunked:8", "vmap/matmul"),
    (8, CALLS, "vmap/matmul"),
    (64, "vmap", "vmap/stock"),
    (1, CALLS, "vmap/stock"),
    (8, "vmap", "map/stock"),
)
TINY_WAYS = ((1, CALLS, "map/stock"), (2, "vmap", "vmap/matmul"), (2, "chunked:1", "map/matmul"))


def make_run_mapping(text: str) -> RunMapping:
    """Returns the mapping of runs that a text names, "vmap" or "chunked:8"."""
    name, _, size = text.partition(":")
    return RunMapping(name, int(size) if size else None)


def make_pack(case: Case, num_lanes: int, runs_by: str, way: str) -> Turn:
    """Returns a turn of one round of every lane: training, 8-bit quantization, average."""
    if runs_by == CALLS:
        rounds = [make_round(case, make_way(way)) for _ in range(num_lanes)]
        return lambda: [play() for play in rounds][-1]
    settings = case.learner.describe_round(make_way(way), case.batch_size)
    program, data = find_pack_program(settings, make_run_mapping(runs_by)), case.data
    init, rates = find_round_program(settings).init, list_rates(case.config)
    work = LocalWork(batch_size=case.batch_size, local_steps=case.num_steps)
    cohort = np.arange(case.num_clients, dtype=np.int32)
    inputs = gather_inputs(cohort, np.full(case.num_clients, 8), data.num_examples, work)
    pack = Pack(program, num_lanes, data.images, data.labels)
    for lane in range(num_lanes):
        key = seed_to_key(lane)
        brought = LaneInputs(jax.random.key_data(key), data.indices, data.num_examples, rates)
        pack.put(lane, init(key, case.num_clients, rates), brought)

    def play() -> Any:
        answers = pack.step(dict.fromkeys(range(num_lanes), inputs))
        return np.asarray(answers[0][1].loss)

    return play


def measure_pack(case: Case, num_lanes: int, runs_by: str, way: str, num_turns: int) -> Values:
    """Returns the speed and the memory of a pack."""
    steps = num_lanes * case.client_steps
    make = functools.partial(make_pack, case, num_lanes, runs_by, way)
    values = time_turns(make, steps, num_turns)
    seconds = 1e-3 * values["milliseconds_per_client_step"] * steps
    return values | {"runs_times_rounds_per_second": num_lanes / seconds}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures packs of 1, 8 and 64 runs by several ways."""
    prepare_platforms()
    part = Part.open("lanes", argv)
    is_tiny = part.setting.is_tiny
    case = make_case(TINY_MODEL, 2, 2) if is_tiny else make_case(MODEL, NUM_CLIENTS, NUM_STEPS)
    for num_lanes, runs_by, way in TINY_WAYS if is_tiny else WAYS:
        name = f"S={num_lanes}, runs by {runs_by}, clients by {way}"
        measure = functools.partial(measure_pack, case, num_lanes, runs_by, way)
        part.measure(name, functools.partial(measure, 1 if is_tiny else NUM_TURNS))
    part.complete()


if __name__ == "__main__":
    end_on_request()
    main()
