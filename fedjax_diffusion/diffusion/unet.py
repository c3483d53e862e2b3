"""The U-Net of Ho et al. (2020): its configuration, the network, and a denoiser with it.

One difference to the original, with the same number of parameters: between levels there is a
stride-1 convolution and 2x2 average pooling instead of a stride-2 convolution. So every convolution
has an odd kernel and stride 1, for which the lowerings of ``conv.py`` are fast.
"""

import dataclasses
import functools
from typing import Annotated, Any, NamedTuple, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from fedjax_diffusion.diffusion.conv import ConvFn, ConvTable, make_conv
from fedjax_diffusion.diffusion.ddpm import NO_LABEL, DenoiserApply
from fedjax_diffusion.diffusion.layers import (
    ResidualBlock,
    SelfAttention,
    average_pool,
    conv_3x3,
    dense,
    group_norm,
    label_embedding,
    nearest_resize,
    time_embedding,
)
from fedjax_diffusion.types import Array, Key, Params
from fedjax_diffusion.values import Fraction, OneOf, Range, Size, check_fields, shorten

_MAX_LEVELS = 12


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """Sizes of a U-Net. The defaults are for the 8x8x1 digits, 271,649 parameters.

    Ho et al.'s model for CIFAR-10, 35,746,307 parameters, is
    ``UNetConfig(128, (1, 2, 2, 2), 2, (16,), 0.1)`` on 32x32x3 images.

    Attributes:
      name: unet, or a network of a plug-in, which has other settings beside its name.
      channels: channels of the first level before its multiplier; even, in 4..4096.
      channel_multipliers: one integer in 1..64 per level, 12 levels at most; each level has half
        the height and width of the one before. A list becomes a tuple.
      num_res_blocks: residual blocks per level on the way down, in 1..32; one more on the way up.
      attention_resolutions: the image heights at which self-attention follows every residual
        block; the middle of the network always has it. A list becomes a tuple.
      dropout: dropout rate in [0, 1), before the last convolution of a residual block.
      num_groups: largest number of groups of a GroupNorm, in 1..4096. The number used is the
        largest divisor of the channels, up to this, with at least 4 channels in a group.
      num_classes: number of classes, in 1..1,000,000, of a network with labels: its embedding has
        [num_classes + 1, 4 channels], the last row for "no label". None: no labels.

    Raises:
      ValueError: a value is out of range.
    """

    name: Annotated[str, OneOf(("unet",))] = dataclasses.field(default="unet", kw_only=True)
    channels: Annotated[int, Range(4, 4096, step=2)] = 32
    channel_multipliers: Annotated[
        tuple[Annotated[int, Range(1, 64)], ...], Size(1, _MAX_LEVELS)
    ] = (1, 1)
    num_res_blocks: Annotated[int, Range(1, 32)] = 1
    attention_resolutions: Annotated[
        tuple[Annotated[int, Range(1, 8192)], ...], Size(0, _MAX_LEVELS)
    ] = ()
    dropout: Fraction = 0.0
    num_groups: Annotated[int, Range(1, 4096)] = 32
    num_classes: Annotated[int, Range(1, 1_000_000)] | None = None

    def __post_init__(self):
        check_fields(self, "model")
        for name in ("channel_multipliers", "attention_resolutions"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def check_image_shape(self, image_shape: tuple[int, ...]) -> None:
        """Checks that the network can process images [H, W, C].

        Raises:
          ValueError: if H or W cannot be halved between the levels, or if an attention resolution
            is not the height of any level.
        """
        H, W, _ = image_shape
        num_halvings = len(self.channel_multipliers) - 1
        if H % 2**num_halvings or W % 2**num_halvings:
            raise ValueError(
                f"model.channel_multipliers has {num_halvings + 1} levels, for which height and "
                f"width of the images must be divisible by {2**num_halvings}, got {H} x {W}"
            )
        heights = [H >> level for level in range(num_halvings + 1)]
        if not {*self.attention_resolutions} <= {*heights}:
            raise ValueError(
                f"model.attention_resolutions must be among the heights {heights} of the levels, "
                f"got {shorten(self.attention_resolutions)}"
            )


class InitFn(Protocol):
    """``init(key) -> params``."""

    def __call__(self, key: Key) -> Params:
        """Returns the initial parameters; consumes the key."""
        ...


class Denoiser(NamedTuple):
    """A denoising network as two pure functions.

    Attributes:
      init: ``init(key) -> params``, a plain dict of float32 arrays.
      apply: ``apply(params, x_t, t, dropout_key=None, labels=None) -> eps``, x_t and eps float32
        [B, H, W, C], t and labels int32 [B]; without a key there is no dropout. eps is zero at the
        initial parameters.
      num_classes: labels are 0..num_classes-1 or ``NO_LABEL``, the meaning of labels=None. None:
        the network has no labels.
    """

    init: InitFn
    apply: DenoiserApply
    num_classes: int | None = None


def make_denoiser(
    config: UNetConfig,
    image_shape: tuple[int, int, int],
    *,
    conv: str | ConvTable = "stock",
    dtype: Any = jnp.float32,
    remat: bool = False,
) -> Denoiser:
    """Returns the denoiser of ``config`` for images of one shape.

    Args:
      config: the network.
      image_shape: (H, W, C).
      conv: a key of ``CONV_LOWERINGS`` or a table; it changes the speed, not the result.
      dtype: of the computation; parameters, normalization statistics and the output stay float32.
      remat: compute the inside of a residual block again for its gradient, instead of storing it:
        less memory, a third more time.

    Raises:
      ValueError: unknown ``conv`` or an image shape that does not fit the configuration; by
        ``apply``, labels for a network without ``num_classes``.

    >>> denoiser = make_denoiser(UNetConfig(), (8, 8, 1))
    >>> params = jax.eval_shape(denoiser.init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    271649
    """
    config.check_image_shape(image_shape)
    unet = UNet(config, image_shape[-1], make_conv(conv), dtype, remat)
    init = _make_init(config, tuple(image_shape))

    def apply(
        params: Params,
        x_t: Array,
        t: Array,
        dropout_key: Key | None = None,
        labels: Array | None = None,
    ) -> Array:
        rngs = None if dropout_key is None else {"dropout": dropout_key}
        eps = unet.apply({"params": params}, x_t, t, dropout_key is None, labels, rngs=rngs)
        return cast(Array, eps)

    return Denoiser(init, apply, config.num_classes)


@functools.cache  # a program makes a denoiser several times, but traces its parameters once
def _make_init(config: UNetConfig, image_shape: tuple[int, int, int]) -> InitFn:
    unet = UNet(config, image_shape[-1], make_conv("stock"))

    def init(key: Key) -> Params:
        x_t = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
        return unet.lazy_init(key, x_t, jax.ShapeDtypeStruct((1,), jnp.int32))["params"]

    return jax.jit(init)


class UNet(nn.Module):
    """eps_theta(x_t, t). The last convolution is initially zero, and so is the output.

    Attributes:
      config: see ``UNetConfig``.
      num_outputs: channels of the result.
      conv: drop-in for ``jax.lax.conv_general_dilated``.
      dtype: of the computation.
      remat: whether residual blocks are computed again for their gradients.
    """

    config: UNetConfig
    num_outputs: int
    conv: ConvFn
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self, x_t: Array, t: Array, deterministic: bool = True, labels: Array | None = None
    ) -> Array:
        """Returns eps, float32 [B, H, W, num_outputs].

        From x_t [B, H, W, C], t int32 [B] and labels int32 [B].
        """
        config = self.config
        conv = functools.partial(conv_3x3, conv=self.conv, dtype=self.dtype)
        features = [config.channels * multiplier for multiplier in config.channel_multipliers]
        heights = [x_t.shape[1] >> level for level in range(len(features))]
        has_attention = [height in config.attention_resolutions for height in heights]
        embedding = self.embed(t, labels)

        # `deterministic` changes the traced program: it stays a Python bool.
        residual_block = nn.remat(ResidualBlock, static_argnums=3) if self.remat else ResidualBlock

        def block(h: Array, features: int, has_attention: bool, name: str) -> Array:
            residual = residual_block(
                features, config.num_groups, config.dropout, self.conv, self.dtype, name=name
            )
            h = residual(h, embedding, deterministic)
            if has_attention:
                h = SelfAttention(config.num_groups, self.dtype, name=f"{name}_attention")(h)
            return h

        h = conv(config.channels, "conv_in")(x_t)
        skips = [h]
        for level in range(len(features)):
            if level > 0:
                h = average_pool(conv(h.shape[-1], f"down_{level}_conv")(h))
                skips.append(h)
            for i in range(config.num_res_blocks):
                h = block(h, features[level], has_attention[level], f"down_{level}_block_{i}")
                skips.append(h)

        h = block(h, features[-1], True, "middle_block_0")
        h = block(h, features[-1], False, "middle_block_1")

        for level in reversed(range(len(features))):
            for i in range(config.num_res_blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = block(h, features[level], has_attention[level], f"up_{level}_block_{i}")
            if level > 0:
                h = conv(h.shape[-1], f"up_{level}_conv")(nearest_resize(h))

        h = group_norm(config.num_groups, h, "norm_out", self.dtype, is_activated=True)
        return conv(self.num_outputs, "conv_out", is_zero=True)(h).astype(jnp.float32)

    def embed(self, t: Array, labels: Array | None) -> Array:
        """Returns the embedding of step and class for all residual blocks, [B, 4 channels]."""
        num_features, num_classes = 4 * self.config.channels, self.config.num_classes
        embedding = time_embedding(t, self.config.channels).astype(self.dtype)
        embedding = nn.silu(dense(num_features, "embedding_0", self.dtype)(embedding))
        embedding = dense(num_features, "embedding_1", self.dtype)(embedding)
        if num_classes is not None:
            labels = jnp.full(t.shape, NO_LABEL) if labels is None else labels
            embedding += label_embedding(labels, num_classes, num_features, self.dtype)
        elif labels is not None:
            raise ValueError("labels: given to a network whose num_classes is None")
        return nn.silu(embedding)
