"""Our U-Net of two levels, written in PyTorch with the same layers and parameters."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def group_norm(num_features: int) -> nn.GroupNorm:
    """Returns the normalization of ours: at most 32 groups of at least 4 channels."""
    most = max(1, min(32, num_features // 4))
    groups = max(g for g in range(1, most + 1) if num_features % g == 0)
    return nn.GroupNorm(groups, num_features, eps=1e-6)


def started(layer: nn.Conv2d | nn.Linear, is_zero: bool = False) -> nn.Module:
    """Returns the layer as ours starts: Glorot-uniform or zero weights, zero biases."""
    if is_zero:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def conv_3x3(inputs: int, outputs: int, is_zero: bool = False) -> nn.Module:
    """Returns a 3x3 convolution of stride 1 that keeps the size."""
    return started(nn.Conv2d(inputs, outputs, 3, padding=1), is_zero)


class ResidualBlock(nn.Module):
    """y = x + conv(silu(norm(h))), h = conv(silu(norm(x))) + dense(embedding)."""

    def __init__(self, inputs: int, outputs: int, embedding: int):
        super().__init__()
        self.norm_0, self.conv_0 = group_norm(inputs), conv_3x3(inputs, outputs)
        self.embedding = started(nn.Linear(embedding, outputs))
        self.norm_1, self.conv_1 = group_norm(outputs), conv_3x3(outputs, outputs, is_zero=True)
        # A 1x1 convolution is the dense layer over channels, without a change of memory format.
        self.shortcut = nn.Identity()
        if inputs != outputs:
            self.shortcut = started(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Returns [B, outputs, H, W]."""
        h = self.conv_0(F.silu(self.norm_0(x))) + self.embedding(embedding)[:, :, None, None]
        return self.shortcut(x) + self.conv_1(F.silu(self.norm_1(h)))


class SelfAttention(nn.Module):
    """One head over the pixels, at first the identity."""

    def __init__(self, num_features: int):
        super().__init__()
        self.norm = group_norm(num_features)
        self.query, self.key, self.value = (
            started(nn.Linear(num_features, num_features)) for _ in range(3)
        )
        self.out = started(nn.Linear(num_features, num_features), is_zero=True)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, C, H, W]."""
        B, C, H, W = x.shape
        h = self.norm(x).permute(0, 2, 3, 1).reshape(B, H * W, C)
        h = F.scaled_dot_product_attention(self.query(h), self.key(h), self.value(h))
        return x + self.out(h).reshape(B, H, W, C).permute(0, 3, 1, 2)


class UNet(nn.Module):
    """Two levels, one residual block each on the way down, two on the way up."""

    def __init__(self, channels: int, image_channels: int):
        super().__init__()
        C, E = channels, 4 * channels
        self.channels = C
        self.embedding_0, self.embedding_1 = started(nn.Linear(C, E)), started(nn.Linear(E, E))
        self.conv_in, self.conv_down, self.conv_up = (
            conv_3x3(inputs, C) for inputs in (image_channels, C, C)
        )
        self.down = nn.ModuleList(ResidualBlock(C, C, E) for _ in range(2))
        self.middle = nn.ModuleList(ResidualBlock(C, C, E) for _ in range(2))
        self.attention = SelfAttention(C)
        self.up = nn.ModuleList(ResidualBlock(2 * C, C, E) for _ in range(4))
        self.norm_out = group_norm(C)
        self.conv_out = conv_3x3(C, image_channels, is_zero=True)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Returns eps [B, image channels, H, W] of x [B, image channels, H, W] and t [B]."""
        frequencies = torch.exp(torch.linspace(0.0, -math.log(10000.0), self.channels // 2))
        angles = t.float()[:, None] * frequencies[None, :]
        embedding = torch.cat([angles.sin(), angles.cos()], dim=-1)
        embedding = F.silu(self.embedding_1(F.silu(self.embedding_0(embedding))))
        h = self.conv_in(x)
        skips = [h]
        h = self.down[0](h, embedding)
        skips.append(h)
        h = F.avg_pool2d(self.conv_down(h), 2)
        skips.append(h)
        h = self.down[1](h, embedding)
        skips.append(h)
        h = self.middle[1](self.attention(self.middle[0](h, embedding)), embedding)
        for i, block in enumerate(self.up):
            if i == 2:
                h = self.conv_up(F.interpolate(h, scale_factor=2, mode="nearest"))
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        return self.conv_out(F.silu(self.norm_out(h)))
