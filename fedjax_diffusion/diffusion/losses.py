"""Training losses by name."""

from typing import Any, Protocol

from fedjax_diffusion.diffusion.ddpm import DenoiserApply, ddpm_loss
from fedjax_diffusion.diffusion.schedule import NoiseSchedule
from fedjax_diffusion.types import Array, Batch, Key, Params

DDPM = "ddpm"


class DiffusionLoss(Protocol):
    """The signature of every entry of ``LOSSES``."""

    def __call__(
        self,
        denoiser_apply: DenoiserApply,
        schedule: NoiseSchedule,
        params: Params,
        batch: Batch,
        key: Key,
        *,
        label_dropout: Any = None,
    ) -> Array:
        """Returns the loss of a batch, float32 []; see ``ddpm_loss``."""
        ...


LOSSES: dict[str, DiffusionLoss] = {DDPM: ddpm_loss}
