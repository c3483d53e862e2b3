"""Inputs of the cost of rounds, built from a config: fleet, channel, workload and planner."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fedjax_diffusion.edge import ChannelState, DeviceParams, draw_channel, make_fleet
from fedjax_diffusion.experiment.programs import Network, find_task
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.planning.allocator_config import AllocatorConfig
from fedjax_diffusion.planning.participation import DrawConditions, make_draw_conditions
from fedjax_diffusion.planning.planner import Planner, make_planner
from fedjax_diffusion.planning.workload import Workload, make_workload
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.types import Key


class Scenario(NamedTuple):
    """All inputs of a round's cost; its training is not included.

    Attributes:
      run_key: [], the run's key.
      num_examples: int [K], examples of each client.
      devices: the fleet.
      workload: cycles and payload of a round.
      allocator: method, deadline, error budget, baselines.
      draw_channel: ``(run_key, rounds [R], devices) -> ChannelState`` of [R, K].
      mode: the quantized quantity, ``"model"`` or ``"update"``.
      cohort_size: M in 1..K; None is K.
      count_flops: ``count() -> float``, FLOPs of training on one example; counts once.
      quantization: quantizer and options.
    """

    run_key: Key
    num_examples: np.ndarray
    devices: DeviceParams
    workload: Workload
    allocator: AllocatorConfig
    draw_channel: Callable[[Key, np.ndarray, DeviceParams], ChannelState]
    mode: str
    cohort_size: int | None
    count_flops: Callable[[], float]
    quantization: QuantizationConfig = QuantizationConfig()

    def replace_allocator(self, **fields) -> "Scenario":
        """Returns the scenario with some fields of ``allocator`` changed and validated."""
        return self._replace(allocator=dataclasses.replace(self.allocator, **fields))

    def make_draw_conditions(self) -> DrawConditions:
        """Returns the function that draws cohort and channel of a round."""
        return make_draw_conditions(
            self.devices, self.draw_channel, len(self.num_examples), self.cohort_size
        )

    def make_planner(self) -> Planner:
        """Returns the planner of these rounds; raises as ``planner.make_planner``."""
        return make_planner(
            self.devices,
            self.workload,
            self.allocator,
            num_examples=self.num_examples,
            draw_conditions=self.make_draw_conditions(),
            mode=self.mode,
            quantization=self.quantization,
        )


def build_scenario(
    config: RunConfig, num_examples: np.ndarray, image_shape: tuple[int, int, int]
) -> Scenario:
    """Builds a scenario from a config, without images: only their number and shape matter.

    Args:
      config: its groups of the model, the fleet, the channel and the allocator matter.
      num_examples: int [K] >= 1.
      image_shape: (H, W, C).

    Raises:
      ValueError: a setting of the model, the fleet or the allocator is out of range.
    """
    task = find_task(Network(config.model, config.diffusion, image_shape))
    devices = make_fleet(len(num_examples), seed=config.seed, **vars(config.devices))
    return Scenario(
        run_key=seed_to_key(config.seed),
        num_examples=num_examples,
        devices=devices,
        workload=make_workload(
            task.find_shapes(),
            devices,
            config.local_work,
            num_examples,
            task.count_flops,
            quantizer=config.quantization.name,
            **vars(config.workload),
        ),
        allocator=config.allocator,
        draw_channel=functools.partial(draw_channel, **vars(config.channel)),
        mode=config.federated.mode,
        cohort_size=config.cohort_size,
        count_flops=task.count_flops,
        quantization=config.quantization,
    )
