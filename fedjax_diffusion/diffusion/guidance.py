"""Classifier-free guidance: sampling images of a class from a denoiser trained with labels.

Ho and Salimans 2022, "Classifier-Free Diffusion Guidance". One network learns eps with labels and,
if these are dropped, without (``ddpm_loss``); sampling extrapolates from the second to the first.
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import jax.numpy as jnp

from fedjax_diffusion.diffusion.ddpm import NO_LABEL, DenoiserApply
from fedjax_diffusion.diffusion.samplers import DenoiseFn
from fedjax_diffusion.types import Array, Params
from fedjax_diffusion.values import Probability, Range, check_fields, check_value

GuidanceScale: TypeAlias = Annotated[float, Range(0, 1000)]


@dataclass(frozen=True)
class GuidanceConfig:
    """Settings of the training of a network with labels.

    Attributes:
      label_dropout: probability in [0, 1] that an image is used without its label. At 0 the
        network learns no prediction without labels, at 1 none with labels: see ``check_scale``.

    Raises:
      ValueError: a value is out of range.
    """

    label_dropout: Probability

    def __post_init__(self):
        check_fields(self, "guidance")

    def check_scale(self, scale: float) -> None:
        """Raises ValueError if a scale w needs a prediction that was never trained."""
        if self.label_dropout == 0 and scale != 1:
            raise ValueError(
                "sampling.guidance_scale must be 1 if guidance.label_dropout is 0: no image was "
                f"trained without its label; got {scale}"
            )
        if self.label_dropout == 1 and scale != 0:
            raise ValueError(
                "sampling.guidance_scale must be 0 if guidance.label_dropout is 1: no image was "
                f"trained with its label; got {scale}"
            )


def guide(denoiser_apply: DenoiserApply, params: Params, labels: Array, scale: float) -> DenoiseFn:
    """Returns the guided prediction of eps, for a sampler.

        eps = eps_null + w (eps_label - eps_null)

    w = 0 samples without labels, w = 1 from the learned classes, w > 1 the most typical images of a
    class, with less variety. Ho and Salimans write w - 1 for this w.

    Args:
      denoiser_apply: predicts eps, with labels and without.
      params: of the denoiser.
      labels: int32 [B], of the images to draw.
      scale: w in [0, 1000]; static.

    Returns:
      ``denoise_fn(x_t [B, H, W, C], t [B]) -> eps``. It calls the network once; for w other than 0
      and 1 with 2 B images.

    Raises:
      ValueError: if w is out of range.

    Source: Ho and Salimans 2022, equation 6.
    """
    check_value("scale", scale, GuidanceScale)
    no_labels = jnp.full_like(labels, NO_LABEL)

    def denoise_fn(x_t: Array, t: Array) -> Array:
        if scale in (0, 1):
            return denoiser_apply(params, x_t, t, None, labels if scale else no_labels)
        x_t, t = jnp.concatenate([x_t, x_t]), jnp.concatenate([t, t])
        both = jnp.concatenate([no_labels, labels])
        eps_null, eps_label = jnp.split(denoiser_apply(params, x_t, t, None, both), 2)
        return eps_null + scale * (eps_label - eps_null)

    return denoise_fn
