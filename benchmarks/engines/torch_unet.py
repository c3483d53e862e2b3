"""Our U-Net in PyTorch, with the same layers and parameters, without dropout and labels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def group_norm(num_features: int) -> nn.GroupNorm:
    """Returns the normalization of our U-Net: at most 32 groups of at least 4 channels."""
    most = max(1, min(32, num_features // 4))
    groups = max(g for g in range(1, most + 1) if num_features % g == 0)
    return nn.GroupNorm(groups, num_features, eps=1e-6)


def started(layer: nn.Conv2d | nn.Linear, is_zero: bool = False) -> nn.Module:
    """Returns the layer initialized like ours: Glorot-uniform or zero weights, zero biases."""
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
    """Self-attention with one head over the pixels, initially the identity."""

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


class Block(nn.Module):
    """A residual block, with attention after it if the level has any."""

    def __init__(self, inputs: int, outputs: int, embedding: int, has_attention: bool):
        super().__init__()
        self.residual = ResidualBlock(inputs, outputs, embedding)
        self.attention = SelfAttention(outputs) if has_attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Returns [B, outputs, H, W]."""
        return self.attention(self.residual(x, embedding))


class UNet(nn.Module):
    """A U-Net with one level per multiplier; each level halves the image of the one before it.

    Args:
      channels: at full resolution.
      image_channels: of the image and of the result.
      channel_multipliers: one entry per level.
      num_res_blocks: per level on the way down, and one more on the way up.
      attention_resolutions: heights of the levels with attention; the middle always has it.
      height: of the image.
    """

    def __init__(
        self,
        channels: int,
        image_channels: int,
        channel_multipliers: Sequence[int] = (1, 1),
        num_res_blocks: int = 1,
        attention_resolutions: Sequence[int] = (),
        height: int = 32,
    ):
        super().__init__()
        self.channels, E = channels, 4 * channels
        features = [channels * multiplier for multiplier in channel_multipliers]
        self.num_res_blocks = num_res_blocks
        has_attention = [height >> i in attention_resolutions for i in range(len(features))]
        self.embedding_0 = started(nn.Linear(channels, E))
        self.embedding_1 = started(nn.Linear(E, E))
        self.conv_in = conv_3x3(image_channels, channels)
        self.down, self.down_convs = nn.ModuleList(), nn.ModuleList()
        self.up, self.up_convs = nn.ModuleList(), nn.ModuleList()
        width, skips = channels, [channels]
        for level, outputs in enumerate(features):
            if level > 0:
                self.down_convs.append(conv_3x3(width, width))
                skips.append(width)
            for _ in range(num_res_blocks):
                self.down.append(Block(width, outputs, E, has_attention[level]))
                width = outputs
                skips.append(width)
        self.middle = nn.ModuleList(Block(width, width, E, has) for has in (True, False))
        for level, outputs in reversed(list(enumerate(features))):
            for _ in range(num_res_blocks + 1):
                self.up.append(Block(width + skips.pop(), outputs, E, has_attention[level]))
                width = outputs
            if level > 0:
                self.up_convs.append(conv_3x3(width, width))
        self.norm_out = group_norm(width)
        self.conv_out = conv_3x3(width, image_channels, is_zero=True)

    def embed(self, t: Tensor) -> Tensor:
        """Returns the embedding of the step t [B] for all blocks, [B, 4 channels]."""
        steps = torch.linspace(0.0, -math.log(10000.0), self.channels // 2, device=t.device)
        angles = t.float()[:, None] * torch.exp(steps)[None, :]
        embedding = torch.cat([angles.sin(), angles.cos()], dim=-1)
        return F.silu(self.embedding_1(F.silu(self.embedding_0(embedding))))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Returns eps [B, image channels, H, W] of x [B, image channels, H, W] and t [B]."""
        embedding = self.embed(t)
        h = self.conv_in(x)
        skips = [h]
        for i, block in enumerate(self.down):
            if i and i % self.num_res_blocks == 0:
                h = F.avg_pool2d(self.down_convs[i // self.num_res_blocks - 1](h), 2)
                skips.append(h)
            h = block(h, embedding)
            skips.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for i, block in enumerate(self.up):
            if i and i % (self.num_res_blocks + 1) == 0:
                conv = self.up_convs[i // (self.num_res_blocks + 1) - 1]
                h = conv(F.interpolate(h, scale_factor=2.0, mode="nearest"))
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        return self.conv_out(F.silu(self.norm_out(h)))
