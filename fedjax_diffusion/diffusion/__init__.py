"""Denoising diffusion: noise schedules, the loss, samplers, and the trained U-Net."""

from fedjax_diffusion.diffusion.config import DiffusionConfig
from fedjax_diffusion.diffusion.conv import CONV_LOWERINGS, ConvChoice, ConvTable, make_conv
from fedjax_diffusion.diffusion.conv_choice import list_convs, measure_convs
from fedjax_diffusion.diffusion.ddpm import (
    NO_LABEL,
    DenoiserApply,
    ddpm_loss,
    drop_labels,
    eps_to_x_0,
    q_sample,
    x_0_to_eps,
)
from fedjax_diffusion.diffusion.guidance import GuidanceConfig, GuidanceScale, guide
from fedjax_diffusion.diffusion.losses import LOSSES, DiffusionLoss
from fedjax_diffusion.diffusion.registration import register_loss, register_sampler
from fedjax_diffusion.diffusion.samplers import (
    SAMPLERS,
    DenoiseFn,
    Sampler,
    sample_ancestral,
    sample_ddim,
)
from fedjax_diffusion.diffusion.schedule import (
    SCHEDULES,
    NoiseSchedule,
    cosine_schedule,
    linear_schedule,
    make_schedule,
)
from fedjax_diffusion.diffusion.unet import Denoiser, UNet, UNetConfig, make_denoiser

__all__ = [
    "CONV_LOWERINGS",
    "LOSSES",
    "NO_LABEL",
    "SAMPLERS",
    "SCHEDULES",
    "ConvChoice",
    "ConvTable",
    "DenoiseFn",
    "Denoiser",
    "DenoiserApply",
    "DiffusionConfig",
    "DiffusionLoss",
    "GuidanceConfig",
    "GuidanceScale",
    "NoiseSchedule",
    "Sampler",
    "UNet",
    "UNetConfig",
    "cosine_schedule",
    "ddpm_loss",
    "drop_labels",
    "eps_to_x_0",
    "guide",
    "linear_schedule",
    "list_convs",
    "make_conv",
    "make_denoiser",
    "make_schedule",
    "measure_convs",
    "q_sample",
    "register_loss",
    "register_sampler",
    "sample_ancestral",
    "sample_ddim",
    "x_0_to_eps",
]
