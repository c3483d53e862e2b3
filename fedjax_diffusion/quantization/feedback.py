"""Error feedback: the quantization error of one upload is added to the next upload.

    v = u + e,   send gamma Q(v),   e <- v - gamma Q(v)

The memory e stays bounded only if ``gamma Q`` is a contraction, ``E||gamma Q(v) - v||^2 <= (1 -
delta) ||v||^2`` with delta > 0. Q alone is not one: with few bits its error is many times
``||v||^2``, and the memory grows without limit. With ``E||Q(v) - v||^2 <= omega ||v||^2`` the
factor ``gamma = 1 / (1 + omega)`` makes an unbiased Q a contraction, ``delta = 1 / (1 + omega)``.

Here the sender, which knows both v and Q(v), takes the best factor for the actual draw, per tensor:
``<Q, v> / ||Q||^2``, rounded to a power of two, at most 1. Then

- no draw is worse than sending nothing or sending Q(v), also for biased quantizers, so every bound
  on ``||Q(v) - v||^2`` still holds;
- the power of two keeps at least 8/9 of the best factor's gain, ``delta >= (8/9) / (1 + omega)`` in
  the mean of an unbiased Q: the mean of the minimum over factors is at most the value at ``1 / (1 +
  omega)``;
- a grid times a power of two is a grid: the message needs no additional field, and both ends still
  agree bit for bit.

Source: Karimireddy et al. 2019, "Error Feedback Fixes SignSGD"; Horvath and Richtarik 2021, sec. 3,
for ``1 / (1 + omega)``. The factor of the draw and its rounding are ours.
"""

import jax.numpy as jnp

from fedjax_diffusion.bits import FULL_PRECISION_BITS
from fedjax_diffusion.quantization.blocks import row_tensors
from fedjax_diffusion.quantization.float32 import MAX_EXPONENT, SMALLEST_NORMAL
from fedjax_diffusion.quantization.padding import tensor_sums
from fedjax_diffusion.quantization.quantizers import Quantized
from fedjax_diffusion.types import Array, PyTree

_LEAST_EXPONENT = -30
"""The smallest exponent of a factor; a smaller factor counts as zero."""


def shrink(quantized: Quantized, blocks: Array, like: PyTree) -> Quantized:
    """Scales each tensor of an upload by the power of two that makes it nearest to ``blocks``.

    Args:
      quantized: ``blocks`` after quantization.
      blocks: float32 [R, 128], the upload before quantization.
      like: the tree, or its shapes.

    Returns:
      ``quantized`` with ``decoded`` and ``grid`` scaled; a tensor for which zeros are better gets a
      grid of zeros. Tensors of bit width 32 do not change.

    Guarantees:
      ``||decoded - blocks||^2`` is at most ``||blocks||^2`` and at most its old value, up to
      rounding, in each tensor.
    """
    grid = quantized.grid
    factor = _best_factor(quantized.decoded, blocks, grid.lo, grid.spread, like)
    is_lost = (grid.step > 0) & (grid.step * factor < SMALLEST_NORMAL)
    factor = jnp.where(is_lost, 0.0, factor)
    factor = jnp.where(
        (grid.num_bits == FULL_PRECISION_BITS) | ~jnp.isfinite(grid.spread), 1.0, factor
    )
    return quantized._replace(
        decoded=quantized.decoded * factor[row_tensors(like), None],
        grid=grid._replace(lo=grid.lo * factor, step=grid.step * factor),
    )


def _best_factor(decoded: Array, blocks: Array, lo: Array, spread: Array, like: PyTree) -> Array:
    """Returns a power of two, at most 1, or 0, float32 [L].

    Of the powers p and 2p the smaller one is better if the best factor is below 1.5 p. Entries are
    scaled by a power of two before they are multiplied, so that no product overflows or underflows.
    """
    exponent = jnp.frexp(jnp.maximum(jnp.abs(lo), spread))[1]
    exponent = jnp.clip(exponent, -MAX_EXPONENT, MAX_EXPONENT)
    unit = jnp.ldexp(jnp.float32(1), -exponent)[row_tensors(like), None]
    sent, wanted = decoded * unit, blocks * unit
    product, squared_norm = tensor_sums(sent * wanted, like), tensor_sums(sent * sent, like)
    is_useful = (product > 0) & (squared_norm > 0)
    ratio = jnp.where(is_useful, product, 1.0) / jnp.where(is_useful, 0.75 * squared_norm, 1.0)
    power = jnp.clip(jnp.frexp(ratio)[1] - 1, _LEAST_EXPONENT, 0)
    return jnp.where(is_useful, jnp.ldexp(jnp.float32(1), power), 0.0)
