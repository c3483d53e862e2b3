"""The cases that the parts train: a model and clients with images of noise."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from benchmarks.engines.models import SESSION_MODELS
from fedjax_diffusion import load_config
from fedjax_diffusion.data import ImageDataset, make_client_data
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.config import to_run_config, with_overrides
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.scenario import Scenario, build_scenario
from fedjax_diffusion.experiment.training import Learner

EXAMPLES_PER_CLIENT = 256
NUM_SHARES = 8
"""Largest number of clients with their own images; more clients share them."""
PEAK_TFLOPS = {  # data sheets, dense: bfloat16, and TF32 for float32
    "NVIDIA H100 80GB HBM3": {"bfloat16": 989.0, "float32": 494.0},
    "NVIDIA H200": {"bfloat16": 989.0, "float32": 494.0},
    "NVIDIA A100-SXM4-80GB": {"bfloat16": 312.0, "float32": 156.0},
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and a number of clients, with ``num_steps`` local steps per round."""

    model: str
    config: RunConfig
    num_clients: int
    num_steps: int
    data: Any
    scenario: Scenario

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (H, W, C) of an image."""
        return SESSION_MODELS[self.model].image_shape

    @property
    def batch_size(self) -> int:
        """Number of examples of a local step."""
        return self.config.local_work.batch_size

    @property
    def client_steps(self) -> int:
        """Number of client-steps of a round."""
        return self.num_clients * self.num_steps

    @functools.cached_property
    def learner(self) -> Learner:
        """The learner on one device."""
        return Learner(self.config, self.image_shape, None)

    def count_parameters(self) -> int:
        """Returns the size of the model."""
        return self.scenario.workload.num_parameters

    def count_step_flops(self) -> float:
        """Returns the floating point operations of one local step."""
        return self.scenario.count_flops() * self.batch_size

    def share_of_peak(self, milliseconds: float, dtype: str) -> float | None:
        """Returns the share of the device's peak that a step uses; None if it is unknown.

        The model's FLOPs over the dense peak of the data sheet: bfloat16, or TF32 for float32.
        """
        peaks = PEAK_TFLOPS.get(jax.devices()[0].device_kind)
        if peaks is None:
            return None
        return self.count_step_flops() / (1e-3 * milliseconds) / (1e12 * peaks[dtype])


def make_config(model: str) -> RunConfig:
    """Returns a model's config without dropout: CIFAR-10's for the largest, else the digits'."""
    spec = SESSION_MODELS[model]
    config = load_config("cifar10" if model.startswith("35.7M") else "digits")
    config.model.update(
        channels=spec.channels,
        channel_multipliers=spec.channel_multipliers,
        num_res_blocks=spec.num_res_blocks,
        attention_resolutions=spec.attention_resolutions,
        dropout=0.0,
    )
    config.local_work.batch_size = spec.batch_size
    return to_run_config(config)


def make_case(model: str, num_clients: int, num_steps: int) -> Case:
    """Returns a case with images of noise, from which all clients draw."""
    changed = {"partition.num_clients": num_clients, "cohort_size": None}
    changed["local_work.local_steps"] = num_steps
    config = with_overrides(make_config(model), changed)
    num_shares = min(num_clients, NUM_SHARES)
    num_examples, shape = EXAMPLES_PER_CLIENT * num_shares, SESSION_MODELS[model].image_shape
    images = np.random.default_rng(0).integers(0, 256, (num_examples, *shape), dtype=np.uint8)
    dataset = ImageDataset(images, np.zeros(num_examples, np.int32), 10, "noise")
    shares = np.split(np.arange(num_examples), num_shares)
    parts = [shares[k % num_shares] for k in range(num_clients)]
    scenario = build_scenario(config, np.full(num_clients, EXAMPLES_PER_CLIENT), shape)
    data = jax.device_put(make_client_data(dataset, parts))
    return Case(model, config, num_clients, num_steps, data, scenario)


def make_way(text: str, dtype: str = "float32") -> ComputeConfig:
    """Returns the settings of a way on one device, "vmap/matmul" or "chunked:64/matmul"."""
    mapping, _, conv = text.partition("/")
    client_map, _, size = mapping.partition(":")
    chunk_size = int(size) if size else None
    return ComputeConfig(client_map, chunk_size, conv, 1, "resident", dtype)
