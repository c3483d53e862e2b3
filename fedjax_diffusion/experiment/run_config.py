"""Settings of a run as nested frozen dataclasses, with one field per key of a config."""

import dataclasses
import functools
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fedjax_diffusion.data import AugmentationConfig, DataConfig, PartitionConfig
from fedjax_diffusion.diffusion import DiffusionConfig, GuidanceConfig
from fedjax_diffusion.edge import ChannelConfig, FleetConfig
from fedjax_diffusion.evaluation.quality import EvaluationConfig
from fedjax_diffusion.experiment.checkpoints import CheckpointConfig
from fedjax_diffusion.experiment.compare_config import CompareConfig
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.networks import ModelConfig, find_settings
from fedjax_diffusion.experiment.optimizers import ROUND_SCHEDULES, OptimizerConfig
from fedjax_diffusion.experiment.sampling import SamplingConfig
from fedjax_diffusion.experiment.start import identify
from fedjax_diffusion.experiment.study_config import StudyConfig
from fedjax_diffusion.experiment.sweep_config import SweepConfig
from fedjax_diffusion.federated import AVERAGES, MODES, LocalWork
from fedjax_diffusion.federated.averaging import MEAN, NumTrimmed
from fedjax_diffusion.host.plugins import check_imported
from fedjax_diffusion.keys import Seed
from fedjax_diffusion.planning.allocator_config import AllocatorConfig
from fedjax_diffusion.planning.faults import FaultsConfig
from fedjax_diffusion.planning.workload import WorkloadConfig
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.values import (
    Count,
    Fraction,
    OneOf,
    PathText,
    Rate,
    Size,
    Weight,
    check_fields,
)


@dataclass(frozen=True)
class FederatedConfig:
    """Options of federated averaging.

    Attributes:
      mode: the quantity that is quantized and sent, ``"update"`` (w_k - w) or ``"model"`` (w_k).
      proximal_weight: mu of FedProx, in [0, 3e38].
      ema_decay: decay per round of the averaged model, from which images are drawn, in [0, 1).
      average: average of the updates, one of ``AVERAGES``; see ``Averaging`` for it and the next
        two.
      num_trimmed: values left out at each end by ``trimmed_mean``, in 1..2^24.
      max_update_norm: largest norm of a client's update, in [1e-37, 3e38]; None: no limit.

    Raises:
      ValueError: a value is out of range.
    """

    mode: Annotated[str, OneOf(MODES)]
    proximal_weight: Weight
    ema_decay: Fraction
    average: Annotated[str, OneOf(AVERAGES)] = MEAN
    num_trimmed: NumTrimmed = 1
    max_update_norm: Rate | None = None

    def __post_init__(self):
        check_fields(self, "federated")


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run. Each group is validated on construction.

    Attributes:
      plugins: files or modules that register names; they are imported before.
      seed: in 0..2^32 - 1, the seed of all random numbers of a run.
      num_rounds: number of rounds, >= 1.
      round_schedule: ``constant`` or ``cosine``: the clients' learning rate over the rounds.
      cohort_size: M in 1..K, clients picked per round; None: all clients.
      init_from: weights that the model starts from: a run folder (its averaged model), or a file
        (.npz, .safetensors, .msgpack); None: new ones. The SHA-256 of the weights is put behind the
        path, so that the settings of a run name them.
      data: the images.
      partition: division of the images among the clients.
      augmentation: random changes of a drawn image.
      diffusion: the forward process.
      model: the network, one of ``NETWORKS``.
      guidance: training for guidance, for a model with classes.
      local_work: amount of training of a client in a round.
      client_optimizer: reset in every round.
      server_optimizer: applied to the mean update.
      federated: options of federated averaging.
      quantization: of uploads and broadcasts.
      devices: the fleet.
      channel: the uplink.
      workload: constants of a round's cost.
      allocator: of bits, times and powers.
      faults: of the simulated world.
      study: settings of a study; not used by a run.
      compute: use of the machine.
      sampling: of images.
      evaluation: of the images' quality.
      compare: settings of a comparison; not used by a run.
      sweep: settings of a sweep; not used by a run.
      checkpoint: frequency of saving the state.
      stop_after_diverged_rounds: >= 1, a run ends early once so many rounds since the model's last
        step had clients that all diverged, or a server's step that was not finite; None: it plays
        on.
      tensorboard: write each round's numbers as events for TensorBoard too.

    Raises:
      ValueError: a value is out of range, or ``init_from`` cannot be read.
    """

    plugins: Annotated[tuple[PathText, ...], Size(0, 64)]
    seed: Seed
    num_rounds: Count
    round_schedule: Annotated[str, OneOf(ROUND_SCHEDULES)]
    cohort_size: Count | None
    init_from: PathText | None
    data: DataConfig
    partition: PartitionConfig
    augmentation: AugmentationConfig
    diffusion: DiffusionConfig
    model: ModelConfig
    guidance: GuidanceConfig
    local_work: LocalWork
    client_optimizer: OptimizerConfig
    server_optimizer: OptimizerConfig
    federated: FederatedConfig
    quantization: QuantizationConfig
    devices: FleetConfig
    channel: ChannelConfig
    workload: WorkloadConfig
    allocator: AllocatorConfig
    faults: FaultsConfig
    study: StudyConfig
    compute: ComputeConfig
    sampling: SamplingConfig
    evaluation: EvaluationConfig
    compare: CompareConfig
    sweep: SweepConfig
    checkpoint: CheckpointConfig
    stop_after_diverged_rounds: Count | None
    tensorboard: bool

    def __post_init__(self):
        check_fields(self)
        if self.init_from is not None:
            object.__setattr__(self, "init_from", identify(self.init_from))

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "RunConfig":
        """Returns the config from nested plain settings; lists become tuples.

        Args:
          settings: with every key and the right types, see ``config.to_run_config``.

        Raises:
          ValueError: a plug-in is not imported, or a value is out of range.
        """
        check_imported(settings["plugins"])
        model = settings["model"]
        return _build(cls, {**settings, "model": _build(find_settings(model["name"]), model)})

    def to_dict(self) -> dict[str, Any]:
        """Returns the nested plain settings of config.json: keys sorted, tuples as lists."""
        return json.loads(json.dumps(dataclasses.asdict(self), sort_keys=True))

    def flatten(self) -> dict[str, Any]:
        """Returns every plain setting by its dotted key."""
        return flatten(self.to_dict())


def _build(kind: type, settings: Mapping[str, Any]) -> Any:
    """Returns a dataclass with its nested dataclasses, from nested plain settings."""
    hints = _find_hints(kind)

    def convert(hint: Any, value: Any) -> Any:
        if isinstance(value, Mapping):
            return _build(hint, value)
        return tuple(value) if isinstance(value, list) else value

    return kind(**{name: convert(hints[name], value) for name, value in settings.items()})


_find_hints = functools.cache(typing.get_type_hints)
"""Evaluated once: that takes a quarter of reading a config."""


def flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested settings by dotted key.

    >>> flatten({"seed": 0, "allocator": {"error_budget": {"relative": 0.5}}})
    {'seed': 0, 'allocator.error_budget.relative': 0.5}
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": below for name, below in flatten(value).items()}
        else:
            flat[key] = value
    return flat
