"""The unbiased stochastic uniform quantizer, at a number of bits that may be traced.

A tensor x with smallest entry lo and largest hi is laid on a grid of ``2^b`` values:

    Delta = (hi - lo) / (2^b - 1),   z_i = (x_i - lo) / Delta,
    Q(x)_i = lo + Delta * (floor(z_i) + B_i),   B_i ~ Bernoulli(z_i - floor(z_i)) independent,

so that E[Q(x)] = x.

In float32 two things need care, or sender and receiver disagree and large b is biased:

- Delta is rounded *up* to ``24 - b`` significant bits. Then ``Delta * code`` is exact for every
  code, and ``lo + Delta * code`` rounds once whether or not the compiler contracts it to a fused
  multiply-add: both ends compute the same number, to the bit.
- The Bernoulli probability is taken between the two *representable* grid values around x_i, so the
  mean is x_i itself.

The whole model is quantized as one array, see ``blocks``.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.core import Tracer

from fedjax_diffusion.quantization.blocks import (
    blocks_to_tree,
    row_tensors,
    tensor_sizes,
    tree_to_blocks,
)
from fedjax_diffusion.types import Array, Key, PyTree

MAX_BITS = 16
"""The largest quantized level."""
FLOAT_BITS = 32
"""The level that sends float32 as it is."""
LEVELS = (*range(1, MAX_BITS + 1), FLOAT_BITS)
"""Every admissible number of bits."""
_SMALLEST_STEP = float(jnp.finfo(jnp.float32).tiny)


class Grid(NamedTuple):
    """What the entries of L tensors may become: ``lo + step * code``, code in 0..2^b - 1.

    Attributes:
      lo: float32 [L], the smallest entry of each tensor; 0 for an empty one.
      step: float32 [L], the distance of neighbours; 0: the tensor is sent as the constant ``lo``.
      num_bits: int32 [L], 1..16, or 32 for a tensor that is sent as it is.
      spread: float32 [L], ``hi - lo``; not finite if an entry is NaN or infinite or if the range
        overflows float32. 0 for an empty tensor.
    """

    lo: Array
    step: Array
    num_bits: Array
    spread: Array


def check_num_bits(num_bits: PyTree) -> None:
    """Raises ValueError unless every level (host numbers, not traced) is 1..16 or 32."""
    for level in jax.tree.leaves(num_bits):
        if isinstance(level, bool) or level not in LEVELS:
            raise ValueError(f"num_bits must be 1..{MAX_BITS} or {FLOAT_BITS}, got {level!r}")


def stochastic_quantize(key: Key, tree: PyTree, num_bits: PyTree) -> PyTree:
    """Quantizes every tensor of ``tree`` without bias and returns what the receiver decodes.

    Args:
      key: [], consumed; one draw per entry.
      tree: pytree of float arrays, each [...]; empty tensors pass through.
      num_bits: int32 [], or a pytree prefix of ``tree`` (bits per tensor); 1..16, or 32 for the
        identity. May be traced: a new value never recompiles. Concrete values are checked; other
        traced values are undefined.

    Returns:
      A pytree like ``tree``, same dtypes. A tensor with a NaN, an infinity or a range that
      overflows float32 comes back as NaN throughout (at 32 bits: as it is): it is the sender's
      failure, see ``is_quantizable``, never a plausible number.

    Raises:
      ValueError: a concrete ``num_bits`` outside 1..16 or 32.

    **Guarantees**: ``E[Q(x)] = x``; ``E||Q(x) - x||^2 <= quantization_error_bound``; constant and
    one-entry tensors are exact; equal to ``decode_update(encode_update(key, tree, num_bits),
    tree)``, bit for bit.

    >>> tree = {"w": jnp.array([0.0, 0.25, 1.0])}
    >>> stochastic_quantize(jax.random.key(0), tree, 32)["w"].tolist()
    [0.0, 0.25, 1.0]

    Source: the stochastic quantization of arXiv 2403.04430; the rounding of the step is ours.
    """
    blocks = tree_to_blocks(tree)
    grid = make_grid(blocks, tree, num_bits)
    return blocks_to_tree(quantize_blocks(key, blocks, grid, tree), tree)


def make_grid(blocks: Array, like: PyTree, num_bits: PyTree) -> Grid:
    """Returns the grids that ``num_bits`` bits put over the ranges of the tensors.

    A range so small that the step would not be a normal float32 is sent as the constant ``lo``
    (error at most ``hi - lo``).

    Args:
      blocks: float32 [R, 128], ``tree_to_blocks``.
      like: the tree, or its shapes.
      num_bits: as in ``stochastic_quantize``.
    """
    sizes, rows = tensor_sizes(like), row_tensors(like)
    levels = broadcast_num_bits(num_bits, like)
    segments = {"num_segments": len(sizes), "indices_are_sorted": True}
    lo = jax.ops.segment_min(blocks.min(axis=1), rows, **segments)
    hi = jax.ops.segment_max(blocks.max(axis=1), rows, **segments)
    lo, hi = jnp.where(sizes > 0, lo, 0.0), jnp.where(sizes > 0, hi, 0.0)
    bits = jnp.minimum(levels, MAX_BITS)
    num_intervals = ((1 << bits) - 1).astype(jnp.float32)
    exact_step = (hi - lo) / num_intervals
    step = _round_up(exact_step, bits)
    step = jnp.where(lo + step * num_intervals < hi, _next_multiple(step, bits), step)
    return Grid(lo, jnp.where(exact_step >= _SMALLEST_STEP, step, 0.0), levels, hi - lo)


def quantize_blocks(key: Key, blocks: Array, grid: Grid, like: PyTree) -> Array:
    """Returns what the receiver decodes, float32 [R, 128]; NaN where it cannot be quantized."""
    value = codes_to_blocks(draw_codes(key, blocks, grid, like), grid, like)
    rows = row_tensors(like)
    value = jnp.where(jnp.isfinite(grid.spread)[rows, None], value, jnp.nan)
    return jnp.where((grid.num_bits == FLOAT_BITS)[rows, None], blocks, value)


def draw_codes(key: Key, blocks: Array, grid: Grid, like: PyTree) -> Array:
    """Draws the code of every entry without bias: int32 [R, 128]."""
    rows = row_tensors(like)
    lo, step = grid.lo[rows, None], grid.step[rows, None]
    last = (1 << jnp.minimum(grid.num_bits, MAX_BITS))[rows, None] - 2
    safe_step = jnp.where(step > 0, step, 1.0)
    code = jnp.clip(jnp.floor((blocks - lo) / safe_step).astype(jnp.int32), 0, last)
    is_above = blocks < lo + step * code.astype(jnp.float32)  # the division rounded up
    code = jnp.where(is_above, jnp.maximum(code - 1, 0), code)
    below = lo + step * code.astype(jnp.float32)
    gap = lo + step * (code + 1).astype(jnp.float32) - below
    probability = jnp.where(gap > 0, (blocks - below) / jnp.where(gap > 0, gap, 1.0), 0.0)
    is_up = jax.random.uniform(key, blocks.shape) < probability
    return jnp.where(step > 0, code + is_up.astype(jnp.int32), 0)


def codes_to_blocks(codes: Array, grid: Grid, like: PyTree) -> Array:
    """Returns ``lo + step * code``, float32 [R, 128]: what the receiver reconstructs."""
    rows = row_tensors(like)
    return grid.lo[rows, None] + grid.step[rows, None] * codes.astype(jnp.float32)


def is_quantizable(grid: Grid) -> Array:
    """Returns bool []: every entry is finite and no tensor's range overflows float32."""
    return jnp.isfinite(grid.spread).all()


def broadcast_num_bits(num_bits: PyTree, like: PyTree) -> Array:
    """Returns the level of each tensor, int32 [L], from a scalar or a pytree prefix."""
    levels = jax.tree.leaves(jax.tree.broadcast(num_bits, like))
    for level in levels:
        chex.assert_rank(level, 0)
        if not isinstance(level, Tracer):
            check_num_bits(int(level))
    return jnp.stack([jnp.asarray(level, jnp.int32) for level in levels])


def _round_up(step: Array, levels: Array) -> Array:
    """Rounds positive float32 [L] up to ``24 - level`` significant bits."""
    unit = jnp.uint32(1) << levels.astype(jnp.uint32)
    word = jax.lax.bitcast_convert_type(step, jnp.uint32)
    return jax.lax.bitcast_convert_type((word + (unit - 1)) & ~(unit - 1), jnp.float32)


def _next_multiple(step: Array, levels: Array) -> Array:
    """Returns the next larger float32 [L] with ``24 - level`` significant bits."""
    unit = jnp.uint32(1) << levels.astype(jnp.uint32)
    word = jax.lax.bitcast_convert_type(step, jnp.uint32)
    return jax.lax.bitcast_convert_type(word + unit, jnp.float32)
