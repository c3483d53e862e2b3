"""The layers of the U-Net, channels last: [B, H, W, C]."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedjax_diffusion.diffusion.conv import ConvFn
from fedjax_diffusion.diffusion.normalization import GroupNorm
from fedjax_diffusion.types import Array, Key


def time_embedding(t: Array, num_features: int) -> Array:
    """Returns the sinusoidal embedding [sin(t f_i), cos(t f_i)].

    f_i = 10000^(-i / (n / 2 - 1)), i in 0..n/2-1.

    Args:
      t: int32 [B], steps.
      num_features: n, even and >= 4.

    Returns:
      float32 [B, n].

    Source: Vaswani et al. 2017, section 3.5, as Ho et al. 2020 use it.
    """
    frequencies = jnp.exp(jnp.linspace(0.0, -math.log(10000.0), num_features // 2))
    angles = t.astype(jnp.float32)[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def label_embedding(labels: Array, num_classes: int, num_features: int, dtype: Any) -> Array:
    """Returns the labels' rows of a table; its last row is for "no label".

    A product with a matrix of ones and zeros: unlike the gradient of a gather, that of a product
    adds in a fixed order on every backend. To be called inside a module.

    Args:
      labels: int32 [B] in 0..num_classes-1; below 0 for "no label".
      num_classes: n.
      num_features: E.
      dtype: of the result.

    Returns:
      [B, E], of the table "label_embedding" [n + 1, E].
    """
    rows = jnp.where(labels < 0, num_classes, labels)
    one_hot = nn.one_hot(rows, num_classes + 1, dtype=dtype)
    table = nn.Dense(
        num_features,
        use_bias=False,
        dtype=dtype,
        kernel_init=_kernel_init(False),
        name="label_embedding",
    )
    return table(one_hot)


class ResidualBlock(nn.Module):
    """y = x + conv(dropout(silu(norm(h)))), h = conv(silu(norm(x))) + dense(embedding).

    The outer convolution starts at zero, so the block starts as the identity (as a linear map of
    the channels if their number changes).

    Attributes:
      features: channels of the result.
      num_groups: largest number of groups of a normalization, see ``count_groups``.
      dropout: rate in [0, 1).
      conv: drop-in for ``jax.lax.conv_general_dilated``.
      dtype: of the computation.
    """

    features: int
    num_groups: int
    dropout: float
    conv: ConvFn
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, embedding: Array, deterministic: bool) -> Array:
        """Returns [B, H, W, features] from x [B, H, W, C] and the activated embedding [B, E]."""
        conv = functools.partial(conv_3x3, self.features, conv=self.conv, dtype=self.dtype)
        h = conv("conv_0")(group_norm(self.num_groups, x, "norm_0", self.dtype, is_activated=True))
        h = h + dense(self.features, "embedding", self.dtype)(embedding)[:, None, None, :]
        h = group_norm(self.num_groups, h, "norm_1", self.dtype, is_activated=True)
        h = nn.Dropout(self.dropout)(h, deterministic=deterministic)
        h = conv("conv_1", is_zero=True)(h)
        if x.shape[-1] != self.features:
            x = dense(self.features, "shortcut", self.dtype)(x)
        return x + h


class SelfAttention(nn.Module):
    """y = x + dense(softmax(q k^T / sqrt(C)) v) over the pixels, one head, initially the identity.

    Attributes:
      num_groups: largest number of groups of the normalization, see ``count_groups``.
      dtype: of the computation; the softmax is float32.
    """

    num_groups: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns [B, H, W, C] from x [B, H, W, C]."""
        B, H, W, C = x.shape
        h = group_norm(self.num_groups, x, "norm", self.dtype, is_activated=False)
        h = h.reshape(B, H * W, C)
        query, key, value = (dense(C, name, self.dtype)(h) for name in ("query", "key", "value"))
        logits = jnp.einsum("bqc,bkc->bqk", query, key) / math.sqrt(C)
        weights = nn.softmax(logits.astype(jnp.float32)).astype(self.dtype)
        h = jnp.einsum("bqk,bkc->bqc", weights, value)
        return x + dense(C, "out", self.dtype, is_zero=True)(h).reshape(B, H, W, C)


def count_groups(num_channels: int, num_groups: int) -> int:
    """Returns the number of groups: the largest divisor of C with at least 4 channels in each.

    A group of one channel would remove the time embedding, which is constant over the image.

    Args:
      num_channels: C.
      num_groups: largest number of groups.
    """
    most = max(1, min(num_groups, num_channels // 4))
    return max(groups for groups in range(1, most + 1) if num_channels % groups == 0)


def group_norm(num_groups: int, x: Array, name: str, dtype: Any, *, is_activated: bool) -> Array:
    """Normalizes ``x`` [B, H, W, C], then applies the SiLU if ``is_activated``; inside a module."""
    groups = count_groups(x.shape[-1], num_groups)
    return GroupNorm(groups, is_activated, dtype, name=name)(x)


def dense(features: int, name: str, dtype: Any, is_zero: bool = False) -> nn.Dense:
    """Returns a dense layer over channels (a 1x1 convolution), initially zero if ``is_zero``."""
    return nn.Dense(features, dtype=dtype, kernel_init=_kernel_init(is_zero), name=name)


def conv_3x3(
    features: int, name: str, *, conv: ConvFn, dtype: Any, is_zero: bool = False
) -> nn.Conv:
    """Returns a 3x3 "SAME" convolution of stride 1 by ``conv``; initially zero if ``is_zero``."""
    return nn.Conv(
        features,
        (3, 3),
        dtype=dtype,
        kernel_init=_kernel_init(is_zero),
        conv_general_dilated=conv,
        name=name,
    )


def average_pool(x: Array) -> Array:
    """Returns [B, H / 2, W / 2, C], the means of 2x2 pixels; H and W even.

    A mean over axes: the gradient of ``reduce_window`` is slow in a loop on the CPU.
    """
    B, H, W, C = x.shape
    return x.reshape(B, H // 2, 2, W // 2, 2, C).mean((2, 4))


def nearest_resize(x: Array) -> Array:
    """Returns [B, 2 H, 2 W, C], each pixel four times."""
    B, H, W, C = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (B, H, 2, W, 2, C))
    return x.reshape(B, 2 * H, 2 * W, C)


def _kernel_init(is_zero: bool) -> nn.initializers.Initializer:
    """Returns zeros, or the uniform initializer of Glorot and Bengio that Ho et al. use.

    It draws a flat array: threefry on a 4-D shape compiles several times longer on the CPU.
    """
    if is_zero:
        return nn.initializers.zeros

    def init(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        fan_in, fan_out = math.prod(shape[:-1]), math.prod(shape[:-2]) * shape[-1]
        bound = math.sqrt(6 / (fan_in + fan_out))
        return jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound).reshape(shape)

    return init
