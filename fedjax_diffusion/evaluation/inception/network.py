"""The Inception network of 2015, whose features define the Fréchet Inception distance.

It is Inception v3 of the TensorFlow graph ``inception-2015-12-05``, which differs from the
published architecture: average pools do not count their padding, and the last block uses a max
pool. Layers have the names of the PyTorch port, so its weights load name by name.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.types import Array

IMAGE_SIZE = 299
NUM_FEATURES = 2048
NUM_LOGITS = 1008

_Pool = Callable[[Array], Array]
# PyTorch's count_include_pad=False: a mean over the pixels without the padding.
_average_pool: _Pool = partial(
    nn.avg_pool, window_shape=(3, 3), padding="SAME", count_include_pad=False
)
_max_pool: _Pool = partial(nn.max_pool, window_shape=(3, 3), strides=(1, 1), padding="SAME")
_halve: _Pool = partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2), padding="VALID")


class InceptionActivations(NamedTuple):
    """Outputs of the network for a batch of images.

    Attributes:
      features: float32 [B, 2048], the mean over positions of the last block ("pool3").
      logits: float32 [B, 1008], before the softmax, with the bias.
    """

    features: Array
    logits: Array


def resize_bilinear_tf1(images: Array, size: int = IMAGE_SIZE) -> Array:
    """Resizes images like TensorFlow 1, with which FID's statistics were made.

    ``y[i] = x[k] + (x[min(k + 1, n - 1)] - x[k]) * (i s - k)`` with ``k = floor(i s)`` and
    ``s = n / size``, along the width, then along the height: no half-pixel centres, aligned at
    the first pixel but not at the last, and no low-pass filter for smaller sizes.

    Args:
      images: [B, H, W, C], of any real type.
      size: of the result, >= 1.

    Returns:
      float32 [B, size, size, C], in the range of the images.
    """
    chex.assert_rank(images, 4)
    images = images.astype(jnp.float32)
    for axis in (2, 1):
        num_pixels = images.shape[axis]
        # In float32 like TensorFlow: at whole pixels its rounding decides the floor.
        source = np.arange(size, dtype=np.float32) * np.float32(num_pixels / size)
        low = np.floor(source).astype(np.int32)
        high = np.minimum(low + 1, num_pixels - 1)
        fraction = np.expand_dims(source - low.astype(np.float32), tuple({0, 1, 2, 3} - {axis}))
        at_low, at_high = (jnp.take(images, index, axis=axis) for index in (low, high))
        images = at_low + (at_high - at_low) * fraction
    return images


class ConvNorm(nn.Module):
    """A convolution without bias, batch normalization by its running statistics, ReLU."""

    features: int
    kernel_size: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps float32 [B, H, W, C] to float32 [B, H', W', features]."""
        x = nn.Conv(
            self.features,
            self.kernel_size,
            self.stride,
            self.padding,
            use_bias=False,
            precision=jax.lax.Precision.HIGHEST,  # otherwise a GPU rounds to TF32
            kernel_init=nn.initializers.zeros,  # weights come from a file
            name="conv",
        )(x)
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(x)
        return nn.relu(x)


class InceptionA(nn.Module):
    """The 35x35 block: 1x1, 5x5, two 3x3, average pool."""

    num_pool_features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps float32 [B, H, W, C] to float32 [B, H, W, 224 + num_pool_features]."""
        one = ConvNorm(64, name="branch1x1")(x)
        five = ConvNorm(48, name="branch5x5_1")(x)
        five = ConvNorm(64, (5, 5), name="branch5x5_2")(five)
        three = ConvNorm(64, name="branch3x3dbl_1")(x)
        three = ConvNorm(96, (3, 3), name="branch3x3dbl_2")(three)
        three = ConvNorm(96, (3, 3), name="branch3x3dbl_3")(three)
        pool = ConvNorm(self.num_pool_features, name="branch_pool")(_average_pool(x))
        return jnp.concatenate([one, five, three, pool], axis=-1)


class InceptionB(nn.Module):
    """The block from 35x35 to 17x17: 3x3, two 3x3, max pool."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps float32 [B, H, W, C] to float32 [B, (H - 1) // 2, (W - 1) // 2, 480 + C]."""
        three = ConvNorm(384, (3, 3), 2, "VALID", name="branch3x3")(x)
        double = ConvNorm(64, name="branch3x3dbl_1")(x)
        double = ConvNorm(96, (3, 3), name="branch3x3dbl_2")(double)
        double = ConvNorm(96, (3, 3), 2, "VALID", name="branch3x3dbl_3")(double)
        return jnp.concatenate([three, double, _halve(x)], axis=-1)


class InceptionC(nn.Module):
    """The 17x17 block: 1x1, one and two 7x7 as rows and columns, average pool."""

    num_features_7x7: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps float32 [B, H, W, C] to float32 [B, H, W, 768]."""
        narrow, row, column = self.num_features_7x7, (1, 7), (7, 1)
        one = ConvNorm(192, name="branch1x1")(x)
        seven = ConvNorm(narrow, name="branch7x7_1")(x)
        seven = ConvNorm(narrow, row, name="branch7x7_2")(seven)
        seven = ConvNorm(192, column, name="branch7x7_3")(seven)
        double = ConvNorm(narrow, name="branch7x7dbl_1")(x)
        double = ConvNorm(narrow, column, name="branch7x7dbl_2")(double)
        double = ConvNorm(narrow, row, name="branch7x7dbl_3")(double)
        double = ConvNorm(narrow, column, name="branch7x7dbl_4")(double)
        double = ConvNorm(192, row, name="branch7x7dbl_5")(double)
        pool = ConvNorm(192, name="branch_pool")(_average_pool(x))
        return jnp.concatenate([one, seven, double, pool], axis=-1)


class InceptionD(nn.Module):
    """The block from 17x17 to 8x8: 3x3, 7x7 and 3x3, max pool."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps float32 [B, H, W, C] to float32 [B, (H - 1) // 2, (W - 1) // 2, 512 + C]."""
        three = ConvNorm(192, name="branch3x3_1")(x)
        three = ConvNorm(320, (3, 3), 2, "VALID", name="branch3x3_2")(three)
        seven = ConvNorm(192, name="branch7x7x3_1")(x)
        seven = ConvNorm(192, (1, 7), name="branch7x7x3_2")(seven)
        seven = ConvNorm(192, (7, 1), name="branch7x7x3_3")(seven)
        seven = ConvNorm(192, (3, 3), 2, "VALID", name="branch7x7x3_4")(seven)
        return jnp.concatenate([three, seven, _halve(x)], axis=-1)


class InceptionE(nn.Module):
    """The 8x8 block, whose 3x3 split into a row and a column; its pool is one of two."""

    is_max_pool: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps float32 [B, H, W, C] to float32 [B, H, W, 2048]."""
        row, column = (1, 3), (3, 1)
        one = ConvNorm(320, name="branch1x1")(x)
        three = ConvNorm(384, name="branch3x3_1")(x)
        three_row = ConvNorm(384, row, name="branch3x3_2a")(three)
        three_column = ConvNorm(384, column, name="branch3x3_2b")(three)
        double = ConvNorm(448, name="branch3x3dbl_1")(x)
        double = ConvNorm(384, (3, 3), name="branch3x3dbl_2")(double)
        double_row = ConvNorm(384, row, name="branch3x3dbl_3a")(double)
        double_column = ConvNorm(384, column, name="branch3x3dbl_3b")(double)
        pool = ConvNorm(192, name="branch_pool")(
            _max_pool(x) if self.is_max_pool else _average_pool(x)
        )
        branches = [one, three_row, three_column, double_row, double_column, pool]
        return jnp.concatenate(branches, axis=-1)


class Inception(nn.Module):
    """FID's Inception of 2015, for inference.

    Guarantees:
      An image's activations do not depend on the rest of the batch (up to the rounding of float32);
      every product is in float32, on a GPU too.

    Source: Szegedy et al. 2016 (Inception v3); Heusel et al. 2017 (FID).
    """

    @nn.compact
    def __call__(self, images: Array) -> InceptionActivations:
        """Maps uint8 [B, H, W, C], C = 3 or 1 (grey, repeated as RGB), to features and logits.

        Images are resized to 299x299 by ``resize_bilinear_tf1``, then ``(x - 128) / 128``.
        """
        num_channels = images.shape[-1]
        if images.dtype != jnp.uint8 or images.ndim != 4 or num_channels not in (1, 3):
            raise ValueError(
                f"images must be uint8 [B, H, W, 1 or 3], got {images.dtype} {list(images.shape)}"
            )
        x = (resize_bilinear_tf1(images) - 128) / 128
        x = jnp.repeat(x, 3 // num_channels, axis=-1)
        x = ConvNorm(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = ConvNorm(32, (3, 3), 1, "VALID", name="Conv2d_2a_3x3")(x)
        x = _halve(ConvNorm(64, (3, 3), name="Conv2d_2b_3x3")(x))
        x = ConvNorm(80, name="Conv2d_3b_1x1")(x)
        x = _halve(ConvNorm(192, (3, 3), 1, "VALID", name="Conv2d_4a_3x3")(x))
        for letter, num_pool_features in zip("bcd", (32, 64, 64), strict=True):
            x = InceptionA(num_pool_features, name=f"Mixed_5{letter}")(x)
        x = InceptionB(name="Mixed_6a")(x)
        for letter, num_features_7x7 in zip("bcde", (128, 160, 160, 192), strict=True):
            x = InceptionC(num_features_7x7, name=f"Mixed_6{letter}")(x)
        x = InceptionD(name="Mixed_7a")(x)
        x = InceptionE(is_max_pool=False, name="Mixed_7b")(x)
        x = InceptionE(is_max_pool=True, name="Mixed_7c")(x)
        features = x.mean(axis=(1, 2))
        head = nn.Dense(NUM_LOGITS, precision=jax.lax.Precision.HIGHEST, name="fc")
        return InceptionActivations(features, head(features))
