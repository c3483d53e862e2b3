"""Execution of a round from the host: plan, step, record, and preparation of the next one."""

import functools
import gc
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_diffusion.data import CohortData
from fedjax_diffusion.experiment.build import lighten_experiment
from fedjax_diffusion.experiment.checkpoints import Checkpoints
from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.host.platforms import is_out_of_memory
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.planning.participation import RoundConditions
from fedjax_diffusion.runs import environment
from fedjax_diffusion.runs.metrics_log import MetricsLog
from fedjax_diffusion.runs.round_record import make_record
from fedjax_diffusion.simulator import SimulationState

OnRecord = Callable[[dict], Any]
"""Callback for each line of metrics.jsonl when it is written."""


def call_all(first: OnRecord, second: OnRecord | None) -> OnRecord:
    """Returns a callback that calls one and then the other, if there is one."""

    def call(record: dict) -> None:
        first(record)
        if second is not None:
            second(record)

    return call


class Prepared(NamedTuple):
    """Inputs of the next round, prepared while the current one runs."""

    conditions: RoundConditions
    cohort_data: CohortData


def _prepare(experiment: Experiment, round: int) -> Prepared:
    conditions = experiment.draw_conditions(experiment.run_key, round)
    return Prepared(conditions, experiment.load_cohort(conditions.cohort))


def play_round(
    experiment: Experiment,
    state: SimulationState,
    prepared: Prepared | None,
    *,
    log: MetricsLog,
    on_record: OnRecord | None,
    compiling: Callable[[], AbstractContextManager] = nullcontext,
) -> tuple[SimulationState, Prepared | None]:
    """Runs a round, and prepares the next one while the devices work."""
    start, round = time.perf_counter(), int(state.round)
    conditions, cohort_data = prepared or _prepare(experiment, round)
    statistics, read_params = state.upload_statistics, lambda: state.whole.params
    plan = experiment.plan(experiment.run_key, statistics, read_params, conditions)
    num_bits = np.asarray(plan.allocation.num_bits)
    faults = experiment.draw_faults(experiment.run_key, round, plan.cohort, num_bits)
    sending, factors = plan.allocation, ()
    if faults is not None:
        sending, factors = faults, (None, faults.update_factor)  # None: local steps of the config
    with compiling():
        next_state, info = experiment.simulator.step(
            experiment.run_key, state, sending, plan.cohort, *cohort_data, *factors
        )
    is_last = round + 1 == experiment.config.num_rounds
    upcoming = None if is_last else _prepare(experiment, round + 1)
    _ = plan.baselines  # computed now, while the devices work
    info = jax.device_get(info)
    traffic = experiment.count_traffic(num_bits, info.clients)
    seconds = time.perf_counter() - start
    record = make_record(round, plan, info, traffic, seconds, faults)
    log.append(record)
    if on_record is not None:
        on_record(record)
    return next_state, upcoming


def play_first_round(
    experiment: Experiment,
    checkpoints: Checkpoints,
    first: int,
    play: Callable[..., tuple[SimulationState, Prepared | None]],
    workdir: Path,
    progress: Progress,
) -> tuple[Experiment, SimulationState, Prepared | None]:
    """Runs the first round of this process, with lighter settings until the memory suffices."""
    while True:
        way = experiment.compute.describe()
        compiling = functools.partial(progress.watch, f"compiling the round: {way}")
        try:
            with progress.watch("initializing the model"):
                if first:
                    state = checkpoints.restore(first, experiment.describe_state())
                else:
                    state = experiment.start()
            return experiment, *play(experiment, state, None, compiling=compiling)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
        state = None
        gc.collect()  # the next attempt needs this memory
        lighter = lighten_experiment(experiment)
        change = f"out of the device's memory: {way}; now {lighter.compute.describe()}"
        progress.tell(change)
        environment.record_change(workdir, lighter.compute, change)
        experiment = lighter
