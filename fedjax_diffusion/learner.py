"""What trains and draws, for any way to use the machine."""

import dataclasses
import functools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fedjax_diffusion.config import Config
from fedjax_diffusion.data import ClientData, CohortData, StreamedClients, draw_batch
from fedjax_diffusion.diffusion import (
    ConvTable,
    Denoiser,
    GuidanceConfig,
    NoiseSchedule,
    UNetConfig,
    ddpm_loss,
    list_convs,
    make_denoiser,
    make_schedule,
    measure_convs,
)
from fedjax_diffusion.federated import LocalWork
from fedjax_diffusion.hardware import ComputeConfig, make_local_mesh
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.measurements import measure_once
from fedjax_diffusion.optimizers import OptimizerConfig, make_optimizer, make_round_schedule
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.sampling import DrawSamples, SamplingConfig, make_draw_samples
from fedjax_diffusion.simulator import Simulator, make_simulator
from fedjax_diffusion.tuning import Trial
from fedjax_diffusion.types import Batch, Key, LossFn


@dataclass(frozen=True)
class Learner:
    """The model and its training, as a config describes them; ``compute`` says how they run.

    Attributes:
      config: the whole config.
      image_shape: (H, W, C).
      quantization: scheme and options.
      mesh: 1-D, or None for a single device.
    """

    config: Config
    image_shape: tuple[int, int, int]
    quantization: QuantizationConfig
    mesh: Mesh | None

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule."""
        return make_schedule(**self.config.diffusion)

    def make_denoiser(self, compute: ComputeConfig) -> Denoiser:
        """Returns the network."""
        return make_denoiser(
            UNetConfig(**self.config.model),
            self.image_shape,
            conv=compute.conv,
            dtype=jnp.dtype(compute.dtype),
            remat=compute.remat,
        )

    def _make_loss(self, denoiser: Denoiser) -> LossFn:
        """Returns the loss, with labels if the network takes any."""
        rate = GuidanceConfig(**self.config.guidance).label_dropout
        return functools.partial(
            ddpm_loss,
            denoiser.apply,
            self.schedule,
            label_dropout=None if denoiser.num_classes is None else rate,
        )

    def make_simulator(
        self, compute: ComputeConfig, local_work: LocalWork | None = None
    ) -> Simulator:
        """Returns the simulator, a step of which takes its state's memory.

        Args:
          compute: resolved.
          local_work: None: as the config says.
        """
        local_work = local_work or LocalWork(**self.config.local_work)
        denoiser = self.make_denoiser(compute)
        return make_simulator(
            denoiser.init,
            self._make_loss(denoiser),
            functools.partial(
                draw_batch, batch_size=local_work.batch_size, **self.config.augmentation
            ),
            local_work=local_work,
            client_optimizer=make_optimizer(OptimizerConfig(**self.config.client_optimizer)),
            round_schedule=make_round_schedule(self.config.round_schedule, self.config.num_rounds),
            server_optimizer=make_optimizer(OptimizerConfig(**self.config.server_optimizer)),
            client_map=compute.client_map,
            chunk_size=compute.chunk_size,
            mesh=self.mesh,
            quantization=self.quantization,
            donate_state=True,
            **self.config.federated,
        )

    def measure_convs(self, compute: ComputeConfig, num_clients: int) -> ConvTable:
        """Returns the fastest lowering of each convolution of a training step, measured once.

        Args:
          compute: resolved, but for the lowering.
          num_clients: mapped at once on a device.
        """
        batch_size = self.config.local_work.batch_size

        def trace(table: ConvTable) -> object:
            denoiser = self.make_denoiser(dataclasses.replace(compute, conv=table))
            loss_fn = self._make_loss(denoiser)
            batch = Batch(
                jnp.zeros((batch_size, *self.image_shape)), jnp.zeros(batch_size, jnp.int32)
            )
            params = jax.eval_shape(denoiser.init, seed_to_key(0))
            return jax.eval_shape(jax.grad(loss_fn), params, batch, seed_to_key(0))

        keys = list_convs(trace)
        question = {"convs": keys, "num_clients": num_clients, "dtype": compute.dtype}
        return measure_once(
            question, lambda: measure_convs(keys, num_clients=num_clients, mesh=self.mesh)
        )

    def make_draw_samples(self, compute: ComputeConfig) -> DrawSamples:
        """Returns what draws images from a trained model."""
        sampling = SamplingConfig(**self.config.sampling)
        if self.config.model.num_classes is not None:
            GuidanceConfig(**self.config.guidance).check_scale(sampling.guidance_scale)
        return make_draw_samples(
            sampling,
            self.make_denoiser(compute),
            self.schedule,
            self.image_shape,
            make_local_mesh(self.mesh),
        )

    def make_trial(
        self,
        compute: ComputeConfig,
        run_key: Key,
        data: ClientData | StreamedClients,
        cohort_data: CohortData,
    ) -> Trial:
        """Returns a function that plays a round of one local step of every client, 8 bits each.

        It is the run's own program: the number of steps is an argument of it.
        """
        work = LocalWork(batch_size=self.config.local_work.batch_size, local_steps=1)
        simulator = self.make_simulator(compute, work)
        cohort = np.arange(len(cohort_data.rows), dtype=np.int32)
        allocation = SimpleNamespace(num_bits=np.full(len(cohort), 8))
        state: Any = simulator.init(run_key, data)

        def trial() -> Any:
            nonlocal state
            state, info = simulator.step(run_key, state, allocation, cohort, *cohort_data)
            return info

        return trial
