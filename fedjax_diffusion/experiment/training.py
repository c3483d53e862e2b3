"""Simulator and sampler of a config, built for given compute settings."""

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from fedjax_diffusion.data import draw_batch
from fedjax_diffusion.diffusion import (
    ConvTable,
    list_convs,
    measure_convs,
)
from fedjax_diffusion.experiment.compute import ComputeConfig, count_memory_bytes, make_local_mesh
from fedjax_diffusion.experiment.optimizers import make_optimizer, make_round_schedule
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.sampling import SAMPLING_BATCH, DrawSamples, make_draw_samples
from fedjax_diffusion.experiment.task import Task, make_task
from fedjax_diffusion.federated import ClientMapping, LocalTraining, LocalWork, ServerUpdate
from fedjax_diffusion.host.measurement_cache import measure_once
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.simulator import Simulator, make_simulator
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
        return make_task(
            self.config.model,
            self.config.diffusion,
            self.config.guidance,
            self.image_shape,
            conv=compute.conv,
            dtype=jnp.dtype(compute.dtype),
            remat=compute.remat,
        )

    def make_simulator(
        self, compute: ComputeConfig, local_work: LocalWork | None = None
    ) -> Simulator:
        """Returns the simulator, whose step reuses the memory of its input state.

        Args:
          compute: resolved settings.
          local_work: None: that of the config.
        """
        config, task = self.config, self.make_task(compute)
        local_work = local_work or config.local_work
        training = LocalTraining(
            task.loss_fn,
            functools.partial(
                draw_batch, batch_size=local_work.batch_size, **vars(config.augmentation)
            ),
            make_optimizer(config.client_optimizer, is_flat=jax.default_backend() != "cpu"),
            local_work,
            config.federated.proximal_weight,
            make_round_schedule(config.round_schedule, config.num_rounds),
        )
        server = ServerUpdate(make_optimizer(config.server_optimizer), config.federated.ema_decay)
        return make_simulator(
            task.denoiser.init,
            training,
            mapping=ClientMapping(compute.client_map, compute.chunk_size, self.mesh),
            server=server,
            mode=config.federated.mode,
            quantization=config.quantization,
            donate_state=True,
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
        task = self.make_task(compute)
        B = self.config.local_work.batch_size
        batch = jax.eval_shape(
            lambda: Batch(jnp.zeros((B, *self.image_shape)), jnp.zeros(B, jnp.int32))
        )
        key = jax.eval_shape(lambda: seed_to_key(0))
        return _Step(task.loss_fn, jax.eval_shape(task.denoiser.init, key), batch, key)

    def make_draw_samples(self, compute: ComputeConfig) -> DrawSamples:
        """Returns the function that draws images from a trained model."""
        sampling, task = self.config.sampling, self.make_task(compute)
        if task.denoiser.num_classes is not None:
            self.config.guidance.check_scale(sampling.guidance_scale)
        return make_draw_samples(
            sampling,
            task.denoiser,
            task.schedule,
            self.image_shape,
            make_local_mesh(self.mesh),
            functools.cache(functools.partial(self._count_sampling_batches, compute)),
        )

    def _count_sampling_batches(self, compute: ComputeConfig) -> int:
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
