"""Compiled programs of runs, each made once for all runs with equal static settings.

A function here sees only static settings, in a hashable dataclass, so two runs that differ in
anything else (seed, bits, allocator, deadline, a learning rate) receive the same object, and JAX
traces and compiles it once. All numbers that may change are in ``Rates``.
"""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fedjax_diffusion.data import AugmentationConfig, draw_batch
from fedjax_diffusion.diffusion import ConvTable, DiffusionConfig
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.optimizers import (
    OptimizerConfig,
    OptimizerRates,
    make_optimizer,
    make_round_schedule,
)
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.sampling import (
    SamplerProgram,
    SamplingConfig,
    make_sampler_program,
)
from fedjax_diffusion.experiment.task import ModelConfig, Task, make_task
from fedjax_diffusion.federated import (
    Averaging,
    ClientMapping,
    LocalTraining,
    LocalWork,
    ServerUpdate,
)
from fedjax_diffusion.federated.averaging import TRIMMED_MEAN
from fedjax_diffusion.federated.program import Program, make_program
from fedjax_diffusion.quantization import QuantizationConfig

_MAX_KEPT = 32
"""Programs of a kind that a process keeps; the one unused for longest is let go."""

_Conv: TypeAlias = str | tuple[tuple[str, str], ...]


class Rates(NamedTuple):
    """The numbers of a run's training that its compiled round receives as inputs.

    Attributes:
      client: of the clients' optimizer.
      server: of the server's optimizer.
      proximal_weight: mu of FedProx; None: 0, without its term.
      ema_decay: of the averaged model; None: 0, no average.
      label_dropout: of a network with classes; None: it has none.
      num_rounds: N of the round schedule; None: the schedule does not depend on it.
      num_trimmed: of the trimmed mean; None: another average.
      max_update_norm: of a client; None: no limit.
    """

    client: OptimizerRates
    server: OptimizerRates
    proximal_weight: Any
    ema_decay: Any
    label_dropout: Any
    num_rounds: Any
    num_trimmed: Any = None
    max_update_norm: Any = None


def list_rates(config: RunConfig) -> Rates:
    """Returns the rates of a config, float32."""
    federated, has_classes = config.federated, config.model.num_classes is not None
    rates = Rates(
        config.client_optimizer.rates,
        config.server_optimizer.rates,
        federated.proximal_weight or None,
        federated.ema_decay or None,
        config.guidance.label_dropout if has_classes else None,
        None if config.round_schedule == "constant" else config.num_rounds,
        federated.num_trimmed if federated.average == TRIMMED_MEAN else None,
        federated.max_update_norm,
    )
    return jax.tree.map(np.float32, rates)


@dataclass(frozen=True)
class Network:
    """A network and its computation.

    Attributes:
      model: its sizes.
      diffusion: the forward process.
      image_shape: (H, W, C).
      conv: lowering of the convolutions; a table as pairs, sorted.
      dtype: of the computation.
      remat: recompute activations for the gradient.
    """

    model: ModelConfig
    diffusion: DiffusionConfig
    image_shape: tuple[int, int, int]
    conv: _Conv = "stock"
    dtype: str = "float32"
    remat: bool = False


def describe_network(
    config: RunConfig, image_shape: tuple[int, int, int], compute: ComputeConfig
) -> Network:
    """Returns a config's network, computed by the settings ``compute``."""
    conv = _freeze(compute.conv)
    return Network(config.model, config.diffusion, image_shape, conv, compute.dtype, compute.remat)


@functools.lru_cache(_MAX_KEPT)
def find_task(network: Network) -> Task:
    """Returns the learning task of a network."""
    conv = network.conv if isinstance(network.conv, str) else dict(network.conv)
    return make_task(
        network.model,
        network.diffusion,
        network.image_shape,
        conv=conv,
        dtype=jnp.dtype(network.dtype),
        remat=network.remat,
    )


@dataclass(frozen=True)
class RoundSettings:
    """All that is compiled into a round, but for shapes and the presence of ``Rates``.

    Attributes:
      network: of the clients.
      batch_size: of a local step.
      augmentation: of the images.
      client_optimizer: ``OptimizerConfig.static``.
      is_flat: whether the clients' optimizer updates all tensors as one vector.
      server_optimizer: ``OptimizerConfig.static``.
      round_schedule: its name.
      mapping: of the clients to the hardware.
      mode: the quantized quantity.
      quantization: quantizer and options.
      average: of the updates.
    """

    network: Network
    batch_size: int
    augmentation: AugmentationConfig
    client_optimizer: OptimizerConfig
    is_flat: bool
    server_optimizer: OptimizerConfig
    round_schedule: str
    mapping: ClientMapping
    mode: str
    quantization: QuantizationConfig
    average: str


def list_static(config: RunConfig) -> tuple[Any, ...]:
    """Returns the settings of a config that are compiled into its programs; hashable.

    Runs in which they are equal share every program if their arrays have equal shapes: of those,
    only the padded number of examples of a client can differ, see ``ProgramChoice``.
    """
    return (
        config.data,
        config.partition.num_clients,
        config.cohort_size,
        config.augmentation,
        config.diffusion,
        config.model,
        config.local_work.batch_size,
        config.client_optimizer.static,
        config.server_optimizer.static,
        config.round_schedule,
        config.federated.mode,
        config.federated.average,
        config.faults.diverging > 0,
        config.quantization,
        str(jax.tree.structure(list_rates(config))),
        _keep_static(config.sampling),
        dataclasses.replace(config.compute, conv=_freeze(config.compute.conv)),
    )


@functools.lru_cache(_MAX_KEPT)
def find_round_program(settings: RoundSettings) -> Program:
    """Returns the round of these settings, whose hyperparameters are ``Rates``."""
    task = find_task(settings.network)
    batch_fn = functools.partial(
        draw_batch, batch_size=settings.batch_size, **vars(settings.augmentation)
    )

    def make_training(rates: Rates) -> LocalTraining:
        return LocalTraining(
            task.make_loss(rates.label_dropout),
            batch_fn,
            make_optimizer(settings.client_optimizer, rates.client, is_flat=settings.is_flat),
            LocalWork(settings.batch_size, 1),  # each step is given its number of local steps
            0.0 if rates.proximal_weight is None else rates.proximal_weight,
            make_round_schedule(settings.round_schedule, rates.num_rounds),
        )

    def make_server(rates: Rates) -> ServerUpdate:
        return ServerUpdate(
            make_optimizer(settings.server_optimizer, rates.server),
            0.0 if rates.ema_decay is None else rates.ema_decay,
        )

    def make_averaging(rates: Rates) -> Averaging:
        num_trimmed = 1 if rates.num_trimmed is None else rates.num_trimmed
        return Averaging(settings.average, num_trimmed, rates.max_update_norm)

    return make_program(
        task.denoiser.init,
        make_training,
        mapping=settings.mapping,
        server=make_server,
        mode=settings.mode,
        quantization=settings.quantization,
        averaging=make_averaging,
        donate_state=True,
    )


@functools.lru_cache(_MAX_KEPT)
def _find_sampler(network: Network, config: SamplingConfig, mesh: Mesh | None) -> SamplerProgram:
    task = find_task(network)
    return make_sampler_program(config, task.denoiser, task.schedule, network.image_shape, mesh)


def find_sampler_program(
    network: Network, config: SamplingConfig, mesh: Mesh | None
) -> SamplerProgram:
    """Returns the sampler of a network; raises as ``make_sampler_program``."""
    network = dataclasses.replace(network, remat=False)
    return _find_sampler(network, _keep_static(config), mesh)


def _keep_static(config: SamplingConfig) -> SamplingConfig:
    """Returns a sampler's settings without those that are not compiled into it."""
    return dataclasses.replace(
        config, every_rounds=1, num_samples=config.batch_size, fixed_noise=False
    )


def _freeze(conv: str | ConvTable) -> _Conv:
    return tuple(sorted(conv.items())) if isinstance(conv, Mapping) else conv
