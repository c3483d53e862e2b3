"""A client in PyTorch, eager, channels last: what torch_steps and flower_rounds train."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.engines.models import (
    CLIP_NORM,
    EXAMPLES_PER_CLIENT,
    LEARNING_RATE,
    MODELS,
    NUM_DIFFUSION_STEPS,
)
from benchmarks.engines.torch_unet import UNet

Weights = dict[str, Tensor]


def make_client(
    name: str, num_clients: int, num_steps: int, num_parameters: int
) -> tuple[Callable[[], Weights], Callable[[int, Weights], Tensor]]:
    """Returns ``weights()`` and ``train(client, weights)``, which ends with the last step's loss.

    The loop is the usual one: permuted indices into a tensor in memory, Adam, clip_grad_norm_.
    ``weights()`` are those of the one model in memory: before any training the initial ones,
    afterwards those of the client that trained last.
    """
    torch.manual_seed(0)
    spec = MODELS[name]
    height, width, channels = spec.image_shape
    unet = UNet(spec.channels, channels).to(memory_format=torch.channels_last)
    count = sum(parameter.numel() for parameter in unet.parameters())
    if count != num_parameters:
        raise SystemExit(f"{count} parameters, ours has {num_parameters}")
    shape = (min(num_clients, 64), EXAMPLES_PER_CLIENT, channels, height, width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    betas = 1000 / NUM_DIFFUSION_STEPS * torch.linspace(1e-4, 0.02, NUM_DIFFUSION_STEPS)
    alpha_bars = torch.cumprod(1 - betas.double(), 0).float()
    signals, noises = alpha_bars.sqrt(), (1 - alpha_bars).sqrt()

    def train(client: int, weights: Weights) -> Tensor:
        unet.load_state_dict(weights)
        optimizer = torch.optim.Adam(unet.parameters(), LEARNING_RATE)
        order, loss = torch.empty(0, dtype=torch.long), torch.zeros(())
        for _ in range(num_steps):
            while len(order) < spec.batch_size:
                order = torch.cat([order, torch.randperm(EXAMPLES_PER_CLIENT)])
            index, order = order[: spec.batch_size], order[spec.batch_size :]
            x_0 = images[client % 64][index].float() / 127.5 - 1
            x_0 = x_0.contiguous(memory_format=torch.channels_last)
            t = torch.randint(0, NUM_DIFFUSION_STEPS, (spec.batch_size,))
            eps = torch.randn_like(x_0)
            x_t = signals[t][:, None, None, None] * x_0 + noises[t][:, None, None, None] * eps
            loss = F.mse_loss(unet(x_t, t), eps)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), CLIP_NORM)
            optimizer.step()
        return loss.detach()

    return unet.state_dict, train
