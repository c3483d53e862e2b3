"""Trying out ways to use the machine with the run's own program."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import jax

from fedjax_diffusion.data import ClientData, CohortData, StreamedClients
from fedjax_diffusion.federated import LocalWork
from fedjax_diffusion.hardware import AUTO, ComputeConfig, count_memory_bytes, resolve
from fedjax_diffusion.learner import Learner
from fedjax_diffusion.scenario import Scenario
from fedjax_diffusion.tuning import fastest, is_worth_measuring, list_candidates, time_in_turn


@dataclass(frozen=True)
class Trials:
    """What trials are made with.

    Attributes:
      learner: the model and its training.
      scenario: the clients.
      data: all clients'.
      load_cohort_data: returns a first cohort's.
    """

    learner: Learner
    scenario: Scenario
    data: ClientData | StreamedClients
    load_cohort_data: Callable[[], CohortData]

    @property
    def cohort_size(self) -> int:
        """M."""
        return self.scenario.cohort_size or len(self.scenario.num_examples)

    @property
    def clients_per_device(self) -> int:
        """Clients of a cohort on one device, at most."""
        mesh = self.learner.mesh
        return -(-self.cohort_size // (1 if mesh is None else mesh.size))

    def run_flops(self) -> float:
        """Returns the floating point operations of all local training of the run."""
        config = self.learner.config
        steps = LocalWork(**config.local_work).num_steps(self.scenario.num_examples).mean()
        examples = self.cohort_size * float(steps) * config.local_work.batch_size
        return config.num_rounds * examples * self.scenario.count_cost().flops

    def choose(self, ways: list[ComputeConfig]) -> ComputeConfig:
        """Returns the way in which a round of one local step per client takes the least time."""
        if len(ways) == 1:
            return ways[0]
        cohort_data, run_key = self.load_cohort_data(), self.scenario.run_key
        trials = [
            lambda way=way: self.learner.make_trial(way, run_key, self.data, cohort_data)
            for way in ways
        ]
        return ways[fastest(time_in_turn(trials))]


def tune(asked: ComputeConfig, compute: ComputeConfig, trials: Trials) -> ComputeConfig:
    """Returns ``compute`` with what trials show to be fastest, where they pay.

    First how clients are mapped, with the lowering that is known to suit each mapping; then a table
    of lowerings, measured one by one, against that lowering in the whole program.

    Args:
      asked: with its ``auto``.
      compute: the same, resolved without trials.
      trials: of the run.
    """
    if AUTO not in (asked.client_map, asked.conv) or compute.client_map == "loop":
        return compute
    if not is_worth_measuring(trials.run_flops(), jax.default_backend()):
        return compute
    if asked.client_map == AUTO:
        compute = trials.choose(_list_mappings(asked, compute, trials))
    if asked.conv == AUTO and jax.process_count() == 1:
        at_once = {"vmap": trials.clients_per_device, "chunked": compute.chunk_size or 1}
        table = trials.learner.measure_convs(compute, at_once.get(compute.client_map, 1))
        compute = trials.choose([compute, dataclasses.replace(compute, conv=table)])
    return compute


def _list_mappings(
    asked: ComputeConfig, compute: ComputeConfig, trials: Trials
) -> list[ComputeConfig]:
    """Returns ``compute`` with each mapping that fits into memory, and the lowering it takes."""
    batch_size = trials.learner.config.local_work.batch_size
    bytes_per_client = batch_size * trials.scenario.count_cost().num_bytes
    mappings = list_candidates(trials.clients_per_device, bytes_per_client, count_memory_bytes())
    ways = (dataclasses.replace(compute, conv=asked.conv, **m._asdict()) for m in mappings)
    return [resolve(way, trials.cohort_size) for way in ways]
