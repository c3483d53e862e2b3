"""Settings of the diffusion: its noise and its loss."""

from dataclasses import dataclass
from typing import Annotated

from fedjax_diffusion.diffusion.losses import DDPM, LOSSES
from fedjax_diffusion.diffusion.schedule import SCHEDULES, NumSteps
from fedjax_diffusion.values import OneOf, check_fields


@dataclass(frozen=True)
class DiffusionConfig:
    """Settings of the forward process, and of the loss by which its reversal is learned.

    Attributes:
      name: a key of ``SCHEDULES``, the noise over the steps.
      num_steps: diffusion steps T, in 1..1,000,000.
      loss: a key of ``LOSSES``, for the clients' training.

    Raises:
      ValueError: a value is out of range.
    """

    name: Annotated[str, OneOf(SCHEDULES)]
    num_steps: NumSteps
    loss: Annotated[str, OneOf(LOSSES)] = DDPM

    def __post_init__(self):
        check_fields(self, "diffusion")
