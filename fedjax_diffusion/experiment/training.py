"""Simulator and sampler of a config, built for given compute settings."""

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fedjax_diffusion.diffusion import (
    ConvTable,
    list_convs,
    measure_convs,
)
from fedjax_diffusion.experiment.compute import ComputeConfig, count_memory_bytes, make_local_mesh
from fedjax_diffusion.experiment.kept_memory import count_average_bytes
from fedjax_diffusion.experiment.programs import (
    RoundSettings,
    describe_network,
    find_round_program,
    find_sampler_program,
    find_task,
    list_rates,
)
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.sampling import (
    SAMPLING_BATCH,
    DrawSamples,
    SamplerProgram,
    make_draw_samples,
)
from fedjax_diffusion.experiment.task import Task, make_task
from fedjax_diffusion.federated import ClientMapping, LocalWork
from fedjax_diffusion.host.measurement_cache import measure_once
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.simulator import SimulationState, Simulator, bind
from fedjax_diffusion.types import Batch, LossFn, Params

_MODEL_COPIES = 10
"""Largest number of arrays of the model's size in the training of a client."""
_MAX_SAMPLING_BATCHES = 32


class _Step(NamedTuple):
    """A local step: its loss, and the shapes of the loss's arguments."""

    loss_fn: LossFn
    params: Params
    batch: Batch
    key: Any


@dataclass(frozen=True)
class Learner:
    """Model and training of a config; ``compute`` arguments set their use of the machine.

    Attributes:
      config: the whole config.
      image_shape: (H, W, C).
      mesh: 1-D, or None for a single device.
    """

    config: RunConfig
    image_shape: tuple[int, int, int]
    mesh: Mesh | None

    def make_task(self, compute: ComputeConfig) -> Task:
        """Returns the learning task, with the network computed by the settings ``compute``."""
        return find_task(describe_network(self.config, self.image_shape, compute))

    def make_simulator(
        self, compute: ComputeConfig, local_work: LocalWork | None = None
    ) -> Simulator:
        """Returns the simulator, whose step reuses the memory of its input state.

        Args:
          compute: resolved settings.
          local_work: None: that of the config.
        """
        local_work = local_work or self.config.local_work
        program = find_round_program(self.describe_round(compute, local_work.batch_size))
        return bind(program, local_work, list_rates(self.config))

    def describe_state(self, simulator: Simulator, data: Any) -> SimulationState:
        """Returns the shape, dtype and devices of a state's arrays; compiles nothing.

        Args:
          simulator: from ``make_simulator``.
          data: of the clients; only their number is read.
        """
        placement = None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())
        state = jax.eval_shape(lambda: simulator.init(seed_to_key(0), data))
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement), state
        )

    def describe_round(self, compute: ComputeConfig, batch_size: int) -> RoundSettings:
        """Returns the settings of a round's program, equal for runs with equal static settings."""
        config = self.config
        return RoundSettings(
            network=describe_network(config, self.image_shape, compute),
            batch_size=batch_size,
            augmentation=config.augmentation,
            client_optimizer=config.client_optimizer.static,
            is_flat=jax.default_backend() != "cpu",
            server_optimizer=config.server_optimizer.static,
            round_schedule=config.round_schedule,
            mapping=ClientMapping(compute.client_map, compute.chunk_size, self.mesh),
            mode=config.federated.mode,
            quantization=config.quantization,
            average=config.federated.average,
        )

    def count_client_bytes(self, compute: ComputeConfig) -> int:
        """Returns the memory of one client's training in bytes, estimated from shapes.

        The values that the loss stores for its gradient, half as much for temporary values, and ten
        arrays of the model's size: parameters, gradient, optimizer and upload.

        Args:
          compute: its precision and ``remat``.
        """
        kept, model = self._count_kept_bytes(compute)
        return int(1.5 * kept) + _MODEL_COPIES * model

    def count_average_bytes(self, cohort_size: int) -> int:
        """Returns the memory in bytes that a device needs for the updates of a cohort's average."""
        params = self.make_task(
            dataclasses.replace(self.config.compute, conv="stock")
        ).find_shapes()
        return count_average_bytes(self.config.federated.average, params, cohort_size)

    def _count_kept_bytes(self, compute: ComputeConfig) -> tuple[int, int]:
        """Returns the bytes that a step stores for its gradient, and the bytes of the model in it.

        Args:
          compute: its precision and ``remat``.
        """
        loss_fn, params, batch, key = self._make_step(dataclasses.replace(compute, conv="stock"))
        kept = jax.eval_shape(lambda p, b, k: jax.vjp(loss_fn, p, b, k)[1], params, batch, key)
        kept_bytes, model_bytes = (
            sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
            for tree in ((kept, batch.images), params)
        )
        return kept_bytes, model_bytes

    def measure_convs(
        self, compute: ComputeConfig, num_clients: int, seconds: float = math.inf
    ) -> ConvTable:
        """Returns the fastest lowering of each convolution of a training step, measured once.

        Args:
          compute: resolved settings, except the lowering.
          num_clients: clients mapped at once on a device.
          seconds: time limit; convolutions not measured by then keep their lowering.
        """

        def trace(table: ConvTable) -> object:
            step = self._make_step(dataclasses.replace(compute, conv=table))
            return jax.eval_shape(jax.grad(step.loss_fn), step.params, step.batch, step.key)

        keys = list_convs(trace)
        question = {"convs": keys, "num_clients": num_clients, "dtype": compute.dtype}
        return measure_once(
            question,
            lambda: measure_convs(keys, num_clients=num_clients, mesh=self.mesh, seconds=seconds),
            is_complete=lambda table: len(table) == len(keys),
        )

    def _make_step(self, compute: ComputeConfig) -> "_Step":
        """Returns the loss of a local step, and the shapes of its arguments."""
        config, B = self.config, self.config.local_work.batch_size
        task = make_task(  # not kept: the table may be one that records what is looked up
            config.model,
            config.diffusion,
            self.image_shape,
            conv=compute.conv,
            dtype=jnp.dtype(compute.dtype),
            remat=compute.remat,
        )
        batch = jax.eval_shape(
            lambda: Batch(jnp.zeros((B, *self.image_shape)), jnp.zeros(B, jnp.int32))
        )
        key = jax.eval_shape(lambda: seed_to_key(0))
        loss_fn = task.make_loss(config.guidance.label_dropout)
        return _Step(loss_fn, task.find_shapes(), batch, key)

    def make_draw_samples(self, compute: ComputeConfig) -> DrawSamples:
        """Returns the function that draws images from a trained model."""
        config, sampling = self.config, self.config.sampling
        if config.model.num_classes is not None:
            config.guidance.check_scale(sampling.guidance_scale)
        count_batches = functools.cache(functools.partial(self.count_sampling_batches, compute))
        return make_draw_samples(sampling, self.find_sampler_program(compute), count_batches)

    def find_sampler_program(self, compute: ComputeConfig) -> SamplerProgram:
        """Returns the compiled sampler, the same for every run with equal static settings."""
        network = describe_network(self.config, self.image_shape, compute)
        return find_sampler_program(network, self.config.sampling, make_local_mesh(self.mesh))

    def count_sampling_batches(self, compute: ComputeConfig) -> int:
        """Returns the batches of images that a device draws at once.

        One on a CPU, which it keeps busy. On other devices as many as take an eighth of the memory,
        if an image takes as much as in training.
        """
        if jax.default_backend() == "cpu":
            return 1
        kept, model = self._count_kept_bytes(dataclasses.replace(compute, remat=False))
        bytes_per_image = max(kept - model, 1) / self.config.local_work.batch_size
        fitting = count_memory_bytes() / 8 / bytes_per_image / SAMPLING_BATCH
        return int(min(max(fitting, 1), _MAX_SAMPLING_BATCHES))
