"""The registry of the paper's and the other quantizers, with one function to quantize with any.

Every quantizer sends a ``Grid`` (two numbers and a bit width per tensor), one code per entry and at
most a seed, so there is one wire format for all:

    value = inverse(seed, lo + step * code).

==============  ===================================================  ========  ===========
name            bound on E||Q(x) - x||^2 per tensor                  unbiased  least bits
==============  ===================================================  ========  ===========
``stochastic``  ``D (hi - lo)^2 / (4 (2^b - 1)^2)``                 yes       1
``nearest``     the same number, as a worst case                     no        1
``qsgd``        ``min(D / (4 s^2), sqrt(D) / s) ||x||^2``,           yes       2
                ``s = 2^(b - 1) - 1``
``rotated``     the same, of the rotated entries                     yes       1
``none``        0                                                    yes       32
==============  ===================================================  ========  ===========

A new quantizer is one file with a ``Quantizer`` and one line in ``QUANTIZERS``; a user's own one
is added by ``register_quantizer``.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS, bit_width_index
from fedjax_diffusion.keys import seed_to_key, step_key
from fedjax_diffusion.quantization.blocks import row_tensors, tensor_sizes, tree_to_blocks
from fedjax_diffusion.quantization.grid import Grid, check_num_bits, codes_to_blocks
from fedjax_diffusion.quantization.nearest import NEAREST
from fedjax_diffusion.quantization.none import NONE
from fedjax_diffusion.quantization.padding import tensor_sums
from fedjax_diffusion.quantization.qsgd import QSGD
from fedjax_diffusion.quantization.quantizer import Quantizer
from fedjax_diffusion.quantization.rotation import ROTATED
from fedjax_diffusion.quantization.stochastic import STOCHASTIC
from fedjax_diffusion.quantization.tensor_bits import bits_to_tree, split_bit_widths, split_error
from fedjax_diffusion.types import Array, Key, PyTree


class Quantized(NamedTuple):
    """A quantized upload. Under ``jit`` an unused field costs nothing.

    Attributes:
      decoded: float32 [R, 128], the receiver's values; NaN in a tensor that cannot be quantized.
      codes: int32 [R, 128], in ``0..2^b - 1``; undefined in a tensor of bit width 32.
      grid: ``Grid``, with the bit width of each tensor.
      seed: uint32 [2], seed of the transform and its inverse; 0 without a transform.
      error_bound: float32 [], bound on ``E||Q(x) - x||^2`` with this grid.
      bit_width_error: float32 [B], this upload's bound at each of ``BIT_WIDTHS``, for the plan of
        the next round. It excludes the rounding of the step, below 0.8 %.
    """

    decoded: Array
    codes: Array
    grid: Grid
    seed: Array
    error_bound: Array
    bit_width_error: Array


QUANTIZERS: dict[str, Quantizer] = {
    "stochastic": STOCHASTIC,
    "nearest": NEAREST,
    "qsgd": QSGD,
    "rotated": ROTATED,
    "none": NONE,
}
"""The quantizers by name; ``none`` sends float32 at every requested bit width."""


def find_quantizer(name: str) -> Quantizer:
    """Returns a quantizer by name.

    Raises:
      ValueError: an unknown name.
    """
    if name not in QUANTIZERS:
        raise ValueError(f"quantizer must be one of {', '.join(QUANTIZERS)}, got {name!r}")
    return QUANTIZERS[name]


def check_options(name: str, *, per_tensor: bool, entropy_coding: bool) -> None:
    """Raises ValueError if a quantizer cannot have options that are for b bits per entry."""
    for option, is_on in (("per_tensor", per_tensor), ("entropy_coding", entropy_coding)):
        if is_on and find_quantizer(name).payload is not None:
            raise ValueError(f"quantizer {name!r} has a payload of its own, without {option}")


def quantize(
    quantizer: Quantizer,
    key: Key,
    blocks: Array,
    like: PyTree,
    num_bits: PyTree,
    *,
    bits_per_tensor: bool = False,
) -> Quantized:
    """Quantizes an upload with any quantizer.

    Args:
      quantizer: from ``find_quantizer``.
      key: [], consumed.
      blocks: float32 [R, 128], ``tree_to_blocks``.
      like: the tree, or its shapes.
      num_bits: int32 [], or a pytree prefix of ``like``; 1..16 or 32, raised to the quantizer's
        ``min_bits``. May be traced.
      bits_per_tensor: whether ``num_bits``, then a scalar, is an average that ``split_bits`` splits
        over the tensors.

    Raises:
      ValueError: a concrete ``num_bits`` outside 1..16 or 32.

    Guarantees:
      ``stochastic`` equals ``stochastic_quantize`` of a float32 tree with the same key, and
      ``decoded`` equals ``dequantize`` of codes, grid and seed if the bit width is at most 16, bit
      for bit. ``is_quantizable(grid)`` is False if a tensor cannot be sent.
    """
    values, seed = blocks, jnp.zeros(2, jnp.uint32)
    if quantizer.transform is not None:
        seed = jax.random.bits(step_key(key, 0), (2,), jnp.uint32)
        key = step_key(key, 1)
        values = quantizer.transform(seed, blocks, like)
    bit_widths = jax.tree.map(lambda b: _raise_bit_width(b, quantizer.min_bits), num_bits)
    grid = quantizer.make_grid(values, like, bit_widths)
    curve = _bit_width_bits(quantizer, grid, like, bits_per_tensor)
    if bits_per_tensor:
        bits = curve[bit_width_index(bit_widths)]
        grid = quantizer.make_grid(values, like, bits_to_tree(bits, like))
    codes = quantizer.choose_codes(key, values, grid, like)
    rows = row_tensors(like)
    decoded = dequantize(quantizer, codes, grid, seed, like)
    decoded = jnp.where(jnp.isfinite(grid.spread)[rows, None], decoded, jnp.nan)
    decoded = jnp.where((grid.num_bits == FULL_PRECISION_BITS)[rows, None], blocks, decoded)
    error_bound = quantizer.error_bound(grid, like)
    bit_width_error = _bit_width_error(quantizer, grid, like, curve)
    if quantizer.is_lossy:
        loss = _transform_loss(quantizer, seed, values, blocks, like)
        error_bound += jnp.where(grid.num_bits == FULL_PRECISION_BITS, 0.0, loss).sum()
        is_exact = curve == FULL_PRECISION_BITS
        bit_width_error += jnp.where(is_exact, 0.0, loss[None, :]).sum(axis=1)
    return Quantized(
        decoded=decoded,
        codes=codes,
        grid=grid,
        seed=seed,
        error_bound=error_bound,
        bit_width_error=bit_width_error,
    )


@functools.partial(jax.jit, static_argnames=("quantizer", "bits_per_tensor"))
def predict_bit_width_error(
    quantizer: Quantizer, tree: PyTree, *, bits_per_tensor: bool = False
) -> Array:
    """Returns the bound on the squared error of sending ``tree`` at each of ``BIT_WIDTHS``.

    Args:
      quantizer: from ``find_quantizer``; ``rotated`` uses one fixed rotation.
      tree: pytree of float arrays.
      bits_per_tensor: as in ``quantize``.

    Returns:
      float32 [17], in squared parameter units.
    """
    blocks, num_bits = tree_to_blocks(tree), quantizer.min_bits
    per_tensor = {"bits_per_tensor": bits_per_tensor}
    return quantize(quantizer, seed_to_key(0), blocks, tree, num_bits, **per_tensor).bit_width_error


def dequantize(quantizer: Quantizer, codes: Array, grid: Grid, seed: Array, like: PyTree) -> Array:
    """Returns the receiver's values, float32 [R, 128], of tensors with at most 16 bits."""
    values = codes_to_blocks(codes, grid, like)
    return values if quantizer.inverse is None else quantizer.inverse(seed, values, like)


def _transform_loss(
    quantizer: Quantizer, seed: Array, values: Array, blocks: Array, like: PyTree
) -> Array:
    """Returns the squared norm of each tensor's part that the transform loses, float32 [L]."""
    back = values if quantizer.inverse is None else quantizer.inverse(seed, values, like)
    return tensor_sums(jnp.square(back - blocks), like)


def _bit_width_bits(quantizer: Quantizer, grid: Grid, like: PyTree, bits_per_tensor: bool) -> Array:
    """Returns the bits of each tensor at each of ``BIT_WIDTHS``, int32 [B, L]."""
    bit_widths = jnp.maximum(jnp.array(BIT_WIDTHS, jnp.int32), quantizer.min_bits)
    sizes = tensor_sizes(like)
    if not bits_per_tensor:
        return jnp.broadcast_to(bit_widths[:, None], (len(BIT_WIDTHS), len(sizes)))
    widest = grid.spread.max(initial=0.0)
    relative = grid.spread / jnp.where(widest > 0, widest, 1.0)
    variances = jnp.asarray(sizes, jnp.float32) * jnp.square(relative)
    error_curve, min_bits = quantizer.error_curve(sizes), quantizer.min_bits
    return split_bit_widths(variances, sizes, error_curve=error_curve, min_bits=min_bits)[
        bit_width_index(bit_widths)
    ]


def _bit_width_error(quantizer: Quantizer, grid: Grid, like: PyTree, bits: Array) -> Array:
    """Returns the bound at each bit width, float32 [B], of bits [B, L]; uses only the spread."""
    sizes = tensor_sizes(like)
    variances = jnp.asarray(sizes, jnp.float32) * jnp.square(grid.spread) / 4
    return split_error(variances, bits, quantizer.error_curve(sizes))


def _raise_bit_width(bit_width: Any, min_bits: int) -> Any:
    """Returns ``max(bit_width, min_bits)``; checks a bit width that is not traced."""
    if isinstance(bit_width, Tracer):
        return jnp.maximum(bit_width, min_bits)
    check_num_bits(int(bit_width))
    return max(int(bit_width), min_bits)
