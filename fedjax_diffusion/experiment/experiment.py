"""All parts of a run, with the state before its first round."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from fedjax_diffusion.data import ClientData, ImageDataset, LoadCohort, Partition, StreamedClients
from fedjax_diffusion.edge import DeviceParams
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.sampling import DrawSamples
from fedjax_diffusion.experiment.start import read_start
from fedjax_diffusion.experiment.training import Learner
from fedjax_diffusion.federated.traffic import CountTraffic
from fedjax_diffusion.planning.faults import DrawFaults
from fedjax_diffusion.planning.participation import DrawConditions
from fedjax_diffusion.planning.planner import Planner
from fedjax_diffusion.planning.workload import Workload
from fedjax_diffusion.simulator import SimulationState, Simulator
from fedjax_diffusion.types import Key, Params


def _call(work: Callable[[], Any]) -> Any:
    return work()


class Experiment(NamedTuple):
    """All parts of a run, built and checked; no files are written.

    Attributes:
      config: the config it was built from.
      compute: compute settings, with every ``auto`` resolved.
      run_key: [], the run's key.
      dataset: the images.
      parts: one index array per client.
      data: the clients' images, on the devices or on the host.
      devices: the fleet.
      workload: cycles and payload of a round.
      learner: the model and its training, for any compute settings.
      simulator: ``Simulator(init, step, pure_step)``; a step reuses the memory of its input state.
      draw_conditions: ``draw(run_key, round) -> RoundConditions``.
      draw_faults: ``draw(run_key, round, cohort, num_bits) -> RoundFaults``, or None.
      load_cohort: ``load(cohort) -> CohortData``.
      plan: ``plan(run_key, statistics, params, conditions) -> RoundPlan``.
      draw_samples: ``draw(run_key, params, counter) -> uint8 images``.
      count_traffic: ``count(num_bits, clients) -> Traffic``.
      changed: the experiment before a change, and the change; None: as it was built.
      lanes: runs side by side: ``num_lanes`` of them whose rounds are played together, in
        ``num_packs`` programs in turn; None: the run plays by itself.
      call_host: ``call_host(work) -> work()``, for a function that takes the host long and needs
        nothing of the run's turn: runs side by side go on meanwhile.
    """

    config: RunConfig
    compute: ComputeConfig
    run_key: Key
    dataset: ImageDataset
    parts: Partition
    data: ClientData | StreamedClients
    devices: DeviceParams
    workload: Workload
    learner: Learner
    simulator: Simulator
    draw_conditions: DrawConditions
    draw_faults: DrawFaults
    load_cohort: LoadCohort
    plan: Planner
    draw_samples: DrawSamples
    count_traffic: CountTraffic
    changed: "tuple[Experiment, Change] | None" = None
    lanes: dict[str, int] | None = None
    call_host: Callable[[Callable[[], Any]], Any] = _call

    def start(self) -> SimulationState:
        """Returns the state before the first round: a new model, or that of ``config.init_from``.

        Raises:
          ValueError: the weights are not there any more, are other ones, or do not fit the model.
        """
        state = self.simulator.init(self.run_key, self.data)
        if self.config.init_from is None:
            return state
        weights = read_start(self.config.init_from, state.params)

        def place() -> Params:  # the arrays of a state share no memory
            return jax.tree.map(
                lambda new, old: jax.device_put(np.array(new), old.sharding), weights, state.params
            )

        return dataclasses.replace(state, params=place(), ema_params=place())

    def describe_state(self) -> SimulationState:
        """Returns the shape, dtype and devices of a state's arrays, to restore one.

        Where the simulator may be another than the learner's, its new state says so.
        """
        if self.changed is not None or self.lanes is not None:
            return self.simulator.init(self.run_key, self.data)
        return self.learner.describe_state(self.simulator, self.data)

    def check_start(self) -> None:
        """Raises the ValueError of ``start``, without the time that it takes."""
        if self.config.init_from is not None:
            read_start(self.config.init_from, self.learner.make_task(self.compute).find_shapes())

    def apply(self, change: "Change") -> "Experiment":
        """Returns the experiment after a change, which stays with other compute settings.

        Args:
          change: returns the experiment with other parts, such as
            ``experiment._replace(plan=...)``; it may be called more than once.

        Raises:
          ValueError: it returns anything else, or another config.
        """
        result = change(self)
        if not isinstance(result, Experiment) or result.config != self.config:
            raise ValueError(
                "change must return the experiment with other parts, as experiment._replace(plan="
                "...) does, and with the same config"
            )
        return result._replace(changed=(self, change))

    def use(self, compute: ComputeConfig) -> "Experiment":
        """Returns the same experiment with other compute settings."""
        if self.changed is not None:
            original, change = self.changed
            return original.use(compute).apply(change)
        return self._replace(
            compute=compute,
            simulator=self.learner.make_simulator(compute),
            draw_samples=self.learner.make_draw_samples(compute),
        )


Change: TypeAlias = Callable[[Experiment], Experiment]
"""Returns an experiment with other parts."""
