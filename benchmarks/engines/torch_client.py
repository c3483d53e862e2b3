"""A client in PyTorch, channels last, for torch_steps, torch_device and flower_rounds."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.engines.models import (
    CLIP_NORM,
    EXAMPLES_PER_CLIENT,
    LEARNING_RATE,
    MODELS,
    NUM_DIFFUSION_STEPS,
    SESSION_MODELS,
    Model,
)
from benchmarks.engines.torch_unet import UNet

Weights = dict[str, Tensor]


class Options(NamedTuple):
    """A client's use of the machine.

    Attributes:
      device: ``cpu`` or ``cuda``.
      is_compiled: whether ``torch.compile`` compiles the network.
      is_autocast: whether the network computes in bfloat16.
    """

    device: str = "cpu"
    is_compiled: bool = False
    is_autocast: bool = False


def make_unet(spec: Model) -> UNet:
    """Returns the U-Net of a model."""
    height, _, channels = spec.image_shape
    return UNet(
        spec.channels,
        channels,
        spec.channel_multipliers,
        spec.num_res_blocks,
        spec.attention_resolutions,
        height,
    )


def make_client(
    name: str,
    num_clients: int,
    num_steps: int,
    num_parameters: int,
    options: Options = Options(),  # noqa: B008 - it is immutable
) -> tuple[Callable[[], Weights], Callable[[int, Weights], Tensor]]:
    """Returns ``weights()`` and ``train(client, weights)``, which returns the last step's loss.

    The loop is the usual one: permuted indices into a tensor in memory, Adam (fused, except on a
    CPU), clip_grad_norm_. All of it is on the device.
    ``weights()`` are those of the one model in memory: the initial ones before any training, and
    afterwards those of the client that trained last.
    """
    torch.manual_seed(0)
    spec, device = {**MODELS, **SESSION_MODELS}[name], options.device
    height, width, channels = spec.image_shape
    unet = make_unet(spec).to(device).to(memory_format=torch.channels_last)
    count = sum(parameter.numel() for parameter in unet.parameters())
    if count != num_parameters:
        raise SystemExit(f"{count} parameters, ours has {num_parameters}")
    predict = torch.compile(unet) if options.is_compiled else unet
    shape = (min(num_clients, 64), EXAMPLES_PER_CLIENT, channels, height, width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    betas = 1000 / NUM_DIFFUSION_STEPS * torch.linspace(1e-4, 0.02, NUM_DIFFUSION_STEPS)
    alpha_bars = torch.cumprod(1 - betas.double(), 0).float().to(device)
    signals, noises = alpha_bars.sqrt(), (1 - alpha_bars).sqrt()

    def train(client: int, weights: Weights) -> Tensor:
        unet.load_state_dict(weights)
        optimizer = torch.optim.Adam(unet.parameters(), LEARNING_RATE, fused=device != "cpu")
        order, loss = torch.empty(0, dtype=torch.long, device=device), torch.zeros(())
        for _ in range(num_steps):
            while len(order) < spec.batch_size:
                order = torch.cat([order, torch.randperm(EXAMPLES_PER_CLIENT, device=device)])
            index, order = order[: spec.batch_size], order[spec.batch_size :]
            x_0 = images[client % 64][index].float() / 127.5 - 1
            x_0 = x_0.contiguous(memory_format=torch.channels_last)
            t = torch.randint(0, NUM_DIFFUSION_STEPS, (spec.batch_size,), device=device)
            eps = torch.randn_like(x_0)
            x_t = signals[t][:, None, None, None] * x_0 + noises[t][:, None, None, None] * eps
            with torch.autocast(device, dtype=torch.bfloat16, enabled=options.is_autocast):
                predicted = predict(x_t, t)
            loss = F.mse_loss(predicted.float(), eps)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), CLIP_NORM)
            optimizer.step()
        return loss.detach()

    return unet.state_dict, train
