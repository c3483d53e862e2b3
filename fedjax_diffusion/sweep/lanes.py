"""Lanes: points of a sweep that are trained side by side, their rounds in one program.

Each lane plays ordinary runs, one after the other, with all that belongs to them: claim,
checkpoints, record, images. They take turns (``host/turns.py``), and what all of them ask for is
answered in one call: the allocations of their plans, their rounds, and their images. What takes the
host long and concerns one lane alone, as measuring its images, is done beside that by all cores.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from fedjax_diffusion.allocation import Allocation, AllocationProblem, RoundFacts
from fedjax_diffusion.allocation.allocator import allocate_pairs
from fedjax_diffusion.data import ClientData, make_load_resident
from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.experiment.pack_sampling import Drawing, draw_together, make_draw_through
from fedjax_diffusion.experiment.packs import LaneInputs, LaneState, Pack, find_pack_program
from fedjax_diffusion.experiment.programs import list_rates
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.federated import ClientInputs, RunMapping, gather_inputs
from fedjax_diffusion.federated.simulation_state import RoundInfo, SimulationState
from fedjax_diffusion.host.machine import count_cores
from fedjax_diffusion.host.platforms import is_out_of_memory
from fedjax_diffusion.host.turns import Ask
from fedjax_diffusion.planning.dropping import LARGEST
from fedjax_diffusion.planning.solver import Solver


class LanesError(BaseException):
    """An error of what lanes share; perhaps no fault of any of their runs.

    Attributes:
      num_lanes: with which their points are to be tried again.
    """

    def __init__(self, message: str, num_lanes: int):
        super().__init__(message)
        self.num_lanes = num_lanes


def explain(error: Exception, num_lanes: int) -> LanesError:
    """Returns the error of lanes that such an error of their common calls is."""
    if is_out_of_memory(error):
        fewer = num_lanes // 2
        return LanesError(f"out of the device's memory: now at most {fewer} lanes", fewer)
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return LanesError(f"the lanes' common calls failed, now point by point: {reason}", 1)


class _Allocate(NamedTuple):
    """A request for allocations of a problem, one by each method."""

    problem: AllocationProblem
    methods: Sequence[str]
    facts: RoundFacts | None


class _Step(NamedTuple):
    """A request for a round.

    Attributes:
      state: of the run; ``LaneState`` if it is in its lane.
      inputs: of the cohort, on the host.
      lane_inputs: what the run brings into its lane.
    """

    state: SimulationState | LaneState
    inputs: ClientInputs
    lane_inputs: LaneInputs


class _HostWork(NamedTuple):
    """A request to call a function of the host, whose answer is the ended ``Future``."""

    work: Callable[[], Any]


@dataclass(frozen=True)
class LanesConfig:
    """Settings of lanes.

    Attributes:
      num_lanes: S >= 2.
      num_packs: packs that the lanes are divided into, a divisor of S. Of two, one is on the
        devices while the host plans and records the rounds of the other.
      mapping: of a pack's runs to the hardware.
      methods: all methods of the allocator that any of the runs may ask for.
    """

    num_lanes: int
    num_packs: int
    mapping: RunMapping
    methods: tuple[str, ...]


class Lanes:
    """The common part of some lanes: it answers their requests. A context.

    Args:
      config: their settings.
    """

    def __init__(self, config: LanesConfig):
        self._config = config
        self._packs: list[Pack] = []
        self._playing: dict[int, Future] = {}  # by pack
        self._working: dict[int, Future] = {}  # by lane
        # A GPU's loops wait for the host, so the call of a program lasts as long as the round.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="round")
        self._cores = ThreadPoolExecutor(count_cores(), thread_name_prefix="host-work")

    def __enter__(self) -> "Lanes":
        return self

    def __exit__(self, *_) -> None:
        self._thread.shutdown()
        self._cores.shutdown(cancel_futures=True)

    def join(self, experiment: Experiment, ask: Ask) -> Experiment:
        """Returns the experiment of a run that plays in a lane.

        Args:
          experiment: of the run, built for one device, with the same program as all others.
          ask: of the lane.
        """
        config, data = experiment.config, experiment.data
        if not isinstance(data, ClientData) or experiment.changed is not None:
            return experiment  # its rounds are played by themselves
        if not self._packs:
            batch_size = config.local_work.batch_size
            settings = experiment.learner.describe_round(experiment.compute, batch_size)
            program = find_pack_program(settings, self._config.mapping)
            size = self._config.num_lanes // self._config.num_packs
            self._packs = [
                Pack(program, size, data.images, data.labels) for _ in range(self._config.num_packs)
            ]
        words = jax.random.key_data(experiment.run_key)
        brought = LaneInputs(words, data.indices, data.num_examples, list_rates(config))
        num_examples, work = np.asarray(data.num_examples), config.local_work

        def step(
            key, state, allocation, cohort, data, rows=None, num_steps=None, update_factor=None
        ):
            inputs = gather_inputs(
                cohort,
                allocation.num_bits,
                num_examples,
                work,
                rows=rows,
                num_steps=num_steps,
                update_factor=update_factor,
            )
            return ask(_Step(state, inputs, brought))

        def init(key, data):
            try:
                return experiment.simulator.init(key, data)
            except jax.errors.JaxRuntimeError as error:  # not to be played with other settings
                raise explain(error, self._config.num_lanes) from error

        data = self._packs[0].share_images(data)
        return experiment._replace(
            data=data,
            load_cohort=make_load_resident(data),
            simulator=experiment.simulator._replace(init=init, step=step),
            plan=functools.partial(experiment.plan, solver=_make_solver(ask)),
            draw_samples=make_draw_through(experiment.learner, experiment.compute, ask),
            call_host=make_call_host(ask),
            lanes={"num_lanes": self._config.num_lanes, "num_packs": self._config.num_packs},
        )

    def answer(self, requests: Mapping[int, Any]) -> Mapping[int, Any]:
        """Answers requests of the lanes: all allocations first, then all images, then rounds.

        The devices draw, then play rounds: their memory has to hold the values of one of both. The
        host's work is begun before, and answered when it has ended.

        Raises:
          LanesError: the call failed; nobody can go on in these lanes.
        """
        try:
            if asked := _choose(requests, _Allocate):
                return self._allocate(asked)
            for lane, request in _choose(requests, _HostWork).items():
                if lane not in self._working:
                    self._working[lane] = self._cores.submit(request.work)
            asked = _choose(requests, Drawing)
            drawn = self._thread.submit(self._draw, asked) if asked else None
            self._begin_rounds(_choose(requests, _Step))
            if drawn is not None:
                return drawn.result()
            return self._wait()
        except Exception as error:
            raise explain(error, self._config.num_lanes) from error

    def _wait(self) -> Mapping[int, Any]:
        """Waits for a pack's round or a lane's work, and returns what has ended."""
        wait([*self._playing.values(), *self._working.values()], return_when=FIRST_COMPLETED)
        for number, future in self._playing.items():
            if future.done():
                return self._playing.pop(number).result()
        ended = [lane for lane, future in self._working.items() if future.done()]
        return {lane: self._working.pop(lane) for lane in ended}

    def _allocate(self, requests: Mapping[int, _Allocate]) -> dict[int, Allocation]:
        asked = [(r.problem, method, r.facts) for r in requests.values() for method in r.methods]
        most = self._config.num_lanes * len(self._config.methods)
        pairs = map(list, zip(*asked, strict=True))
        solved = allocate_pairs(*pairs, among=self._config.methods, at_most=most)
        answers, first = {}, 0
        for lane, request in requests.items():
            part = slice(first, first + len(request.methods))
            answers[lane] = jax.tree.map(lambda x, part=part: x[part], solved)
            first += len(request.methods)
        return answers

    def _draw(self, requests: Mapping[int, Drawing]) -> dict[int, np.ndarray]:
        drawings, mesh = list(requests.values()), self._config.mapping.mesh
        drawn = draw_together(drawings, mesh, self._config.num_lanes)
        return dict(zip(requests, drawn, strict=True))

    def _begin_rounds(self, requests: Mapping[int, _Step]) -> None:
        """Begins the rounds that are asked for, of packs that play none."""
        for number, pack in enumerate(self._packs):
            asked = {n: r for n, r in requests.items() if n % len(self._packs) == number}
            if asked and number not in self._playing:
                self._playing[number] = self._thread.submit(self._play_round, pack, asked)

    def _play_round(
        self, pack: Pack, requests: Mapping[int, _Step]
    ) -> dict[int, tuple[LaneState, RoundInfo]]:
        """Plays a round of a pack; at most one is played at a time."""
        places = {lane: lane // len(self._packs) for lane in requests}
        for lane, request in requests.items():
            if isinstance(request.state, SimulationState):
                pack.put(places[lane], request.state, request.lane_inputs)
        answers = pack.step({places[n]: request.inputs for n, request in requests.items()})
        _, info = next(iter(answers.values()))
        np.asarray(info.loss)  # waits; whether it fits into the memory is known now
        return {lane: answers[place] for lane, place in places.items()}


_Request = TypeVar("_Request")


def _choose(requests: Mapping[int, Any], kind: type[_Request]) -> dict[int, _Request]:
    """Returns the requests of a kind."""
    return {lane: asked for lane, asked in requests.items() if isinstance(asked, kind)}


def list_methods(configs: Sequence[RunConfig]) -> tuple[str, ...]:
    """Returns all methods of the allocator that runs of these configs may ask for."""
    methods = {LARGEST: None}
    for allocator in {config.allocator: None for config in configs}:
        spec = allocator.method_spec
        methods |= dict.fromkeys((str(spec), str(spec.fallback), *allocator.baselines))
    return tuple(methods)


def make_call_host(ask: Ask) -> Callable[[Callable[[], Any]], Any]:
    """Returns the ``call_host`` of an experiment in a lane; what the work raises, the lane sees."""
    return lambda work: ask(_HostWork(work)).result()


def _make_solver(ask: Ask) -> Solver:
    """Returns the solver of a lane's plans."""

    def allocate_each(
        problem: AllocationProblem, methods: Sequence[str], facts: RoundFacts | None
    ) -> Allocation:
        return ask(_Allocate(problem, methods, facts))

    def allocate(problem: AllocationProblem, method: str, facts: RoundFacts | None) -> Allocation:
        return jax.tree.map(lambda x: x[0], allocate_each(problem, [method], facts))

    return Solver(allocate, allocate_each)
