"""Trials of compute settings with the run's own program."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np

from fedjax_diffusion.data import ClientData, CohortData, StreamedClients
from fedjax_diffusion.diffusion import CONV_LOWERINGS
from fedjax_diffusion.experiment.compute import AUTO, ComputeConfig, count_memory_bytes, resolve
from fedjax_diffusion.experiment.guesses import AT_ONCE, HEAVY, ClientLoad
from fedjax_diffusion.experiment.scenario import Scenario
from fedjax_diffusion.experiment.training import Learner
from fedjax_diffusion.experiment.trial_budget import list_candidates, share_of_run
from fedjax_diffusion.host.platforms import is_out_of_memory
from fedjax_diffusion.host.processes import agree
from fedjax_diffusion.host.progress import SILENT, Progress
from fedjax_diffusion.simulator import Simulator

_LOG = logging.getLogger(__name__)
_REPEATS = 3
_ROUND_SECONDS = 0.5
"""Target time of a timed round: it has as many local steps as fit, at most those of the run."""
_GAIN = 0.95
"""Other settings replace the guess if they take less than this share of its time."""
_MOST_TRIALS = 4


class Choice(NamedTuple):
    """Compute settings and their simulator, which is compiled if it was tried."""

    compute: ComputeConfig
    simulator: Simulator


@dataclass(frozen=True)
class Trials:
    """The run for which trials are made.

    Attributes:
      learner: the model and its training.
      scenario: the clients.
      data: data of all clients.
      load_cohort_data: returns the data of a first cohort.
      progress: shows the trials.
      check: called after each trial, by every process; it raises if the run is to stop.
    """

    learner: Learner
    scenario: Scenario
    data: ClientData | StreamedClients
    load_cohort_data: Callable[[], CohortData]
    progress: Progress = SILENT
    check: Callable[[], object] = lambda: None

    @property
    def cohort_size(self) -> int:
        """M."""
        return self.scenario.cohort_size or len(self.scenario.num_examples)

    @property
    def num_devices(self) -> int:
        """Number of devices that share the cohort."""
        return 1 if self.learner.mesh is None else self.learner.mesh.size

    @property
    def clients_per_device(self) -> int:
        """Largest number of a cohort's clients on one device."""
        return -(-self.cohort_size // self.num_devices)

    @property
    def num_steps(self) -> int:
        """Mean number of local steps of a client in a round, at least 1."""
        work = self.learner.config.local_work
        return max(1, round(float(work.num_steps(self.scenario.num_examples).mean())))

    def share_of_run(self, asked: ComputeConfig) -> float:
        """Returns the seconds of this run that trials may take; 0 if they are not worthwhile."""
        if asked.tune == "thorough":
            return math.inf
        try:
            flops = self.scenario.count_flops()
        except ValueError:  # the run's duration is unknown: the guess is kept
            return 0.0
        config = self.learner.config
        steps = config.num_rounds * self.cohort_size * self.num_steps
        flops *= steps * config.local_work.batch_size
        platform = jax.default_backend()
        num_devices = 1 if platform == "cpu" else self.num_devices  # CPU devices share the cores
        return share_of_run(flops / num_devices, platform)


def count_load(learner: Learner, scenario: Scenario, compute: ComputeConfig) -> ClientLoad:
    """Returns the load of one client, or ``HEAVY`` if the model's FLOPs cannot be counted."""
    try:
        flops = scenario.count_flops() * learner.config.local_work.batch_size
    except ValueError as error:
        _LOG.warning("clients are mapped one by one: %s", error)
        return HEAVY
    cohort_size = scenario.cohort_size or len(scenario.num_examples)
    average_bytes = learner.count_average_bytes(cohort_size)
    return ClientLoad(flops, learner.count_client_bytes(compute), average_bytes)


def tune(asked: ComputeConfig, compute: ComputeConfig, trials: Trials) -> Choice:
    """Returns the first guess, or settings that are faster in trials if these are worthwhile.

    Every trial is a round of the run's own program. The guess is tried first, so that its
    compilation serves the run if it is kept. Then, within a share of the run and ``tune_seconds``,
    other mappings are tried, each with the lowering that suits it; if ``thorough``, with every
    lowering. On a CPU, or if ``thorough``, a table of lowerings is measured before them, which may
    take the same share of the run again.

    Args:
      asked: settings as given, with ``auto``.
      compute: the same, resolved without trials.
      trials: of the run.
    """
    is_open = AUTO in (asked.client_map, asked.conv) and compute.client_map != "loop"
    share = trials.share_of_run(asked) if is_open and asked.tune != "guess" else 0.0
    if agree(int(share > 0)) == 0:
        return Choice(compute, trials.learner.make_simulator(compute))
    is_thorough = asked.tune == "thorough"
    others = _list_ways(asked, compute, trials, is_thorough)
    is_measurable = asked.conv == AUTO and jax.process_count() == 1
    has_table = is_measurable and (is_thorough or jax.default_backend() == "cpu")
    if not others and not has_table:
        return Choice(compute, trials.learner.make_simulator(compute))
    race = _Race(trials, share if is_thorough else min(share, asked.tune_seconds), has_table)
    race.enter(compute)
    if has_table:
        race.enter(dataclasses.replace(compute, conv=race.measure_convs(compute, share)))
    for way in others:
        if race.has_time():
            race.enter(way)
    return race.finish()


def _list_ways(
    asked: ComputeConfig, compute: ComputeConfig, trials: Trials, is_thorough: bool
) -> list[ComputeConfig]:
    """Returns other settings than the guess, the most similar first."""
    ways = [compute]
    if asked.client_map == AUTO:
        num_bytes = trials.learner.count_client_bytes(asked)
        average_bytes = trials.learner.count_average_bytes(trials.cohort_size)
        memory_bytes = count_memory_bytes() - 2 * average_bytes  # half of what is left is given
        mappings = list_candidates(trials.clients_per_device, num_bytes, memory_bytes)
        if compute.client_map in AT_ONCE:
            mappings.reverse()
        ways = [
            resolve(
                dataclasses.replace(compute, conv=asked.conv, **mapping._asdict()),
                trials.cohort_size,
                count_load=lambda: count_load(trials.learner, trials.scenario, asked),
            )
            for mapping in mappings
        ]
    if is_thorough and asked.conv == AUTO:
        ways = [dataclasses.replace(way, conv=conv) for way in ways for conv in CONV_LOWERINGS]
    others = [way for way in ways if way != compute]
    return others if is_thorough else others[: _MOST_TRIALS - 1]


class _Race:
    """Timing of several settings, one after another, within a time limit.

    Args:
      trials: of the run.
      seconds: the limit.
      has_table: a table of lowerings is tried regardless of the limit.
    """

    def __init__(self, trials: Trials, seconds: float, has_table: bool):
        self._trials, self._limit, self._has_table = trials, seconds, has_table
        self._start, self._longest = time.perf_counter(), 0.0
        self._entered: list[tuple[Choice, float]] = []
        self._num_steps: int | None = None
        self._cohort_data = trials.load_cohort_data()

    def has_time(self) -> bool:
        """Returns whether another trial as long as the longest so far is within the limit."""
        elapsed = time.perf_counter() - self._start
        return agree(int(elapsed + self._longest <= self._limit)) == 1

    def measure_convs(self, compute: ComputeConfig, seconds: float) -> Any:
        """Returns the table of the lowerings that can be measured within ``seconds``."""
        at_once = {"vmap": self._trials.clients_per_device, "chunked": compute.chunk_size or 1}
        start = time.perf_counter()
        with self._trials.progress.watch("trying each convolution's lowerings"):
            num_clients = at_once.get(compute.client_map, 1)
            table = self._trials.learner.measure_convs(compute, num_clients, seconds)
        self._start += time.perf_counter() - start
        return table

    def enter(self, way: ComputeConfig) -> None:
        """Times one setting. The first is only compiled if no other can follow in time."""
        start, choice = time.perf_counter(), Choice(way, self._trials.learner.make_simulator(way))
        with self._trials.progress.watch(f"trying {way.describe()}"):
            self._entered.append((choice, self._time(choice.simulator)))
        self._longest = max(self._longest, time.perf_counter() - start)
        self._trials.check()

    def finish(self) -> Choice:
        """Returns the fastest choice, the same one in every process."""
        seconds = [time if i else _GAIN * time for i, (_, time) in enumerate(self._entered)]
        choice, taken = self._entered[agree(min(range(len(seconds)), key=seconds.__getitem__))]
        if len(seconds) > 1 and taken < math.inf:
            self._trials.progress.tell(
                f"fastest of {len(seconds)}: {choice.compute.describe()}; a round of "
                f"{self._num_steps} local steps takes {taken:.3g} s"
            )
        return choice

    def _time(self, simulator: Simulator) -> float:
        """Returns the least time of three rounds, s; infinite if the memory does not suffice."""
        trials, (data, rows) = self._trials, self._cohort_data
        run_key, M = trials.scenario.run_key, len(rows)
        cohort, allocation = np.arange(M, dtype=np.int32), SimpleNamespace(num_bits=np.full(M, 8))
        can_diverge = trials.learner.config.faults.diverging > 0
        factors = (np.ones(M, np.float32),) if can_diverge else ()  # the program of the run
        state: Any = None

        def play(num_steps: int) -> float:
            nonlocal state
            start, steps = time.perf_counter(), np.full(M, num_steps)
            state, info = simulator.step(
                run_key, state, allocation, cohort, data, rows, steps, *factors
            )
            jax.block_until_ready(info)
            return time.perf_counter() - start

        try:
            state = simulator.init(run_key, trials.data)
            play(1)  # compiles
            if self._num_steps is None:
                self._longest = time.perf_counter() - self._start
                if not self._has_table and not self.has_time():
                    return 0.0
                num_steps = int(_ROUND_SECONDS / max(play(1), 1e-9))
                self._num_steps = agree(min(max(num_steps, 1), trials.num_steps))
            return min(play(self._num_steps) for _ in range(_REPEATS))
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error) or jax.process_count() > 1:
                raise
            return math.inf
