"""The grid of a tensor's quantized values: two numbers and a bit width per tensor.

    value = lo + step * code,   code in 0..2^b - 1

The step is rounded *up* to ``24 - b`` significant bits. Then ``step * code`` is exact for every
code, and ``lo + step * code`` rounds once whether or not the compiler contracts it to a fused
multiply-add: sender and receiver compute the same number, to the bit.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS, MAX_BITS
from fedjax_diffusion.quantization.blocks import row_tensors, tensor_ranges
from fedjax_diffusion.quantization.division import divide
from fedjax_diffusion.quantization.float32 import SMALLEST_NORMAL
from fedjax_diffusion.types import Array, PyTree
from fedjax_diffusion.values import shorten, to_plain


class Grid(NamedTuple):
    """The possible values in L tensors: ``lo + step * code``, code in 0..2^b - 1.

    Attributes:
      lo: float32 [L], the smallest entry of each tensor; 0 for an empty one.
      step: float32 [L], distance of neighbours; 0: the tensor is sent as the constant ``lo``.
      num_bits: int32 [L], 1..16, or 32 for a tensor that is sent unquantized.
      spread: float32 [L], ``hi - lo``; not finite if an entry is NaN or infinite or if the range
        or the grid over it overflows float32. 0 for an empty tensor.
    """

    lo: Array
    step: Array
    num_bits: Array
    spread: Array


def check_num_bits(num_bits: PyTree) -> None:
    """Raises ValueError unless every bit width (host numbers, not traced) is 1..16 or 32."""
    for bit_width in jax.tree.leaves(num_bits):
        is_one_number = np.ndim(bit_width) == 0 and not isinstance(bit_width, bool)
        if not is_one_number or bit_width not in BIT_WIDTHS:
            allowed = f"1..{MAX_BITS} or {FULL_PRECISION_BITS}"
            raise ValueError(f"num_bits must be {allowed}, got {shorten(bit_width)}")


def make_grid(blocks: Array, like: PyTree, num_bits: PyTree) -> Grid:
    """Returns the grids with ``num_bits`` bits over the ranges of the tensors.

    If a range is so small that the step would not be a normal float32, the tensor is sent as the
    constant ``lo`` (error at most ``hi - lo``).

    Args:
      blocks: float32 [R, 128], ``tree_to_blocks``.
      like: the tree, or its shapes.
      num_bits: as in ``stochastic_quantize``.
    """
    if not jax.tree.leaves(like):
        nothing = jnp.zeros(0)
        return Grid(nothing, nothing, jnp.zeros(0, jnp.int32), nothing)
    bit_widths = broadcast_num_bits(num_bits, like)
    lo, hi = tensor_ranges(blocks, like)
    spread = hi - lo
    bits = jnp.minimum(bit_widths, MAX_BITS)
    num_intervals = ((1 << bits) - 1).astype(jnp.float32)
    exact_step = divide(spread, num_intervals)
    step = round_step_up(exact_step, bits)
    step = jnp.where(lo + step * num_intervals < hi, _next_multiple(step, bits), step)
    step = jnp.where(exact_step >= SMALLEST_NORMAL, step, 0.0)
    is_held = jnp.isfinite(lo + step * num_intervals) | (bit_widths == FULL_PRECISION_BITS)
    spread = jnp.where(is_held, spread, jnp.inf)
    return Grid(lo, step, bit_widths, spread)


def codes_to_blocks(codes: Array, grid: Grid, like: PyTree) -> Array:
    """Returns the receiver's values ``lo + step * code``, float32 [R, 128]."""
    lo, step = per_row(like, grid.lo, grid.step)
    return lo + step * codes.astype(jnp.float32)


def is_quantizable(grid: Grid) -> Array:
    """Returns whether every entry is finite and every range fits float32, bool []."""
    return jnp.isfinite(grid.spread).all()


def round_step_up(step: Array, num_bits: Array) -> Array:
    """Rounds positive float32 [L] up to ``24 - num_bits`` significant bits."""
    unit = jnp.uint32(1) << num_bits.astype(jnp.uint32)
    word = jax.lax.bitcast_convert_type(step, jnp.uint32)
    return jax.lax.bitcast_convert_type((word + (unit - 1)) & ~(unit - 1), jnp.float32)


def broadcast_num_bits(num_bits: PyTree, like: PyTree) -> Array:
    """Returns the bit width of each tensor, int32 [L], from a scalar or a pytree prefix."""
    bit_widths = list_num_bits(num_bits, like)
    for bit_width in bit_widths:
        if not isinstance(bit_width, Tracer):
            check_num_bits(to_plain(bit_width))
        chex.assert_rank(bit_width, 0)
    return jnp.stack([jnp.asarray(bit_width, jnp.int32) for bit_width in bit_widths])


def list_num_bits(num_bits: PyTree, like: PyTree) -> list[Any]:
    """Returns the bit width of each tensor [L]; raises ValueError for a tree of other names."""
    try:
        return jax.tree.leaves(jax.tree.broadcast(num_bits, like))
    except ValueError:
        allowed = "one number, or a tree with the tensors' names"
        raise ValueError(f"num_bits must be {allowed}, got {shorten(num_bits)}") from None


def per_row(like: PyTree, *columns: Array) -> list[Array]:
    """Expands float32 [L] each to float32 [R, 1], with one look-up for all of them."""
    return jnp.split(jnp.stack(columns, axis=1)[row_tensors(like)], len(columns), axis=1)


def _next_multiple(step: Array, bit_widths: Array) -> Array:
    """Returns the next larger float32 [L] with ``24 - bit_width`` significant bits."""
    unit = jnp.uint32(1) << bit_widths.astype(jnp.uint32)
    word = jax.lax.bitcast_convert_type(step, jnp.uint32)
    return jax.lax.bitcast_convert_type(word + unit, jnp.float32)
