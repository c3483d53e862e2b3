"""PyTorch, eager, channels last: clients one after the other, two threads inside an operation.

    python -m benchmarks.rival_engines.torch_steps MODEL NUM_CLIENTS NUM_STEPS NUM_PARAMETERS

The loop is the usual one: permuted indices into a tensor in memory, Adam, clip_grad_norm_.
"""

import sys

import torch
from torch.nn import functional as F

from benchmarks.engines.models import (
    CLIP_NORM,
    EXAMPLES_PER_CLIENT,
    LEARNING_RATE,
    MODELS,
    NUM_DIFFUSION_STEPS,
    serve,
)
from benchmarks.rival_engines.torch_unet import UNet


def main(name: str, num_clients: str, num_steps: str, num_parameters: str) -> None:
    """Times ``num_steps`` local steps of each client."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    spec = MODELS[name]
    height, width, channels = spec.image_shape
    unet = UNet(spec.channels, channels).to(memory_format=torch.channels_last)
    count = sum(parameter.numel() for parameter in unet.parameters())
    if count != int(num_parameters):
        raise SystemExit(f"{count} parameters, ours has {num_parameters}")
    start = {key: value.clone() for key, value in unet.state_dict().items()}
    shape = (min(int(num_clients), 64), EXAMPLES_PER_CLIENT, channels, height, width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    betas = 1000 / NUM_DIFFUSION_STEPS * torch.linspace(1e-4, 0.02, NUM_DIFFUSION_STEPS)
    alpha_bars = torch.cumprod(1 - betas.double(), 0).float()
    signals, noises = alpha_bars.sqrt(), (1 - alpha_bars).sqrt()

    def train(client: int) -> torch.Tensor:
        unet.load_state_dict(start)
        optimizer = torch.optim.Adam(unet.parameters(), LEARNING_RATE)
        order, loss = torch.empty(0, dtype=torch.long), torch.zeros(())
        for _ in range(int(num_steps)):
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

    def run() -> float:
        losses = [train(client) for client in range(int(num_clients))]
        return float(torch.stack(losses).mean())

    serve(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
