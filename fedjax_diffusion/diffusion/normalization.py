"""Group normalization and the SiLU after it, with as few passes over memory as possible.

Statistics are computed per channel first, which reads memory in order, and combined per group
afterwards, on arrays [B, C]. Forward and backward then need one more pass each:

    y = act(z),  z = a (x - m) + bias,  a = r scale;      m, r: a group's mean and 1 / deviation
    x_bar = a g - r M_1 - r^2 M_2 (x - m),                g = y_bar act'(z)

where M_1 and M_2 are the group means of g scale and of g scale (x - m) r. The gradient is explicit
because the automatic one reads and writes [B, H, W, C] several times more.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedjax_diffusion.types import Array

_EPSILON = 1e-6
_traced_once = functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
"""A network has few shapes and many normalizations; its program is the same."""


class GroupNorm(nn.Module):
    """y = act((x - mean) / sqrt(var + 1e-6) * scale + bias), over the pixels of each group.

    Parameters have the names of ``flax.linen.GroupNorm``'s, and results are equal.

    Attributes:
      num_groups: G, divides C.
      is_activated: whether act is the SiLU, z sigmoid(z), or the identity.
      dtype: of the result; statistics are float32.

    Source: Wu and He 2018, eq. 1 to 7.
    """

    num_groups: int
    is_activated: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns [B, H, W, C] from x [B, H, W, C]."""
        C = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (C,))
        bias = self.param("bias", nn.initializers.zeros, (C,))
        if self.is_initializing():  # of which the parameters are read, not the result
            return x.astype(self.dtype)
        normalize = _silu_normalize if self.is_activated else _plain_normalize
        return normalize(self.num_groups, jnp.dtype(self.dtype), x, scale, bias)


class _Moments(NamedTuple):
    """Moments of each group, repeated for its channels: float32 [B, C]."""

    mean: Array
    inverse_deviation: Array


def _group_mean(per_channel: Array, num_groups: int) -> Array:
    """Returns the means over groups of channels, repeated for the channels: [B, C] from [B, C]."""
    B, C = per_channel.shape
    groups = per_channel.reshape(B, num_groups, C // num_groups)
    return jnp.broadcast_to(groups.mean(axis=2, keepdims=True), groups.shape).reshape(B, C)


def _measure(num_groups: int, x: Array) -> _Moments:
    mean = _group_mean(x.mean(axis=(1, 2)), num_groups)
    square = _group_mean(jnp.square(x).mean(axis=(1, 2)), num_groups)
    variance = jnp.maximum(square - jnp.square(mean), 0.0)
    return _Moments(mean, jax.lax.rsqrt(variance + _EPSILON))


def _pixels(per_channel: Array) -> Array:
    """Returns [B, 1, 1, C] from [B, C]."""
    return per_channel[:, None, None, :]


def _affine(moments: _Moments, x: Array, scale: Array, bias: Array) -> Array:
    slope = moments.inverse_deviation * scale[None]
    return _pixels(slope) * (x - _pixels(moments.mean)) + _pixels(bias[None])


def _silu_slope(z: Array) -> Array:
    gate = jax.nn.sigmoid(z)
    return gate * (1 + z * (1 - gate))


def _make_normalize(
    activation: Callable[[Array], Array], slope: Callable[[Array], Array]
) -> Callable[..., Array]:
    """Returns ``normalize(num_groups, dtype, x, scale, bias)`` with an explicit gradient."""

    @_traced_once
    def forward(num_groups: int, dtype: Any, x: Array, scale: Array, bias: Array):
        moments = _measure(num_groups, x.astype(jnp.float32))
        y = activation(_affine(moments, x.astype(jnp.float32), scale, bias))
        return y.astype(dtype), (x, scale, bias, moments)

    @_traced_once
    def backward(num_groups: int, dtype: Any, residuals: Any, y_bar: Array):
        x_kept, scale, bias, moments = residuals
        x, (mean, r) = x_kept.astype(jnp.float32), moments
        g = y_bar.astype(jnp.float32) * slope(_affine(moments, x, scale, bias))
        centered = x - _pixels(mean)
        g_mean, gx_mean = g.mean(axis=(1, 2)), r * (g * centered).mean(axis=(1, 2))
        m_1 = _group_mean(scale[None] * g_mean, num_groups)
        m_2 = _group_mean(scale[None] * gx_mean, num_groups)
        x_bar = _pixels(r * scale[None]) * g - _pixels(r * m_1) - _pixels(r**2 * m_2) * centered
        num_pixels = x.shape[1] * x.shape[2]
        scale_bar, bias_bar = (num_pixels * means.sum(axis=0) for means in (gx_mean, g_mean))
        return x_bar.astype(x_kept.dtype), scale_bar, bias_bar

    def normalize(num_groups: int, dtype: Any, x: Array, scale: Array, bias: Array) -> Array:
        return forward(num_groups, dtype, x, scale, bias)[0]

    differentiable = jax.custom_vjp(normalize, nondiff_argnums=(0, 1))
    differentiable.defvjp(forward, backward)
    return differentiable


_silu_normalize = _make_normalize(jax.nn.silu, _silu_slope)
_plain_normalize = _make_normalize(lambda z: z, jnp.ones_like)
