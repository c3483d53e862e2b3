"""The unbiased stochastic uniform quantizer, with a number of bits that may be traced.

A tensor x with smallest entry lo and largest hi is rounded to a grid of ``2^b`` values:

    Delta = (hi - lo) / (2^b - 1),   z_i = (x_i - lo) / Delta,
    Q(x)_i = lo + Delta * (floor(z_i) + B_i),   B_i ~ Bernoulli(z_i - floor(z_i)) independent,

so that E[Q(x)] = x.

In float32 three rules make sender and receiver agree and keep large b unbiased:

- Delta is rounded up, see ``grid``: both ends compute the same number, to the bit.
- The Bernoulli probability is taken between the two *representable* grid values around x_i, so the
  mean is x_i itself. They are found without a division: the code nearest to x_i, and its neighbour
  on the side of x_i. A rounding error in z_i has no effect, because z_i must be right only to half
  a step.
- CPUs flush numbers below the smallest normal float32 (2^-126) to zero. Very small and very large
  ranges are drawn in units of a power of two that keep every difference normal.

The whole model is quantized as one array, see ``blocks``, in one pass over the entries.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.bits import FULL_PRECISION_BITS
from fedjax_diffusion.quantization.blocks import (
    blocks_to_tree,
    row_tensors,
    to_jax_dtype,
    tree_to_blocks,
)
from fedjax_diffusion.quantization.counter_random import Uniform, counter_uniform
from fedjax_diffusion.quantization.division import divide
from fedjax_diffusion.quantization.grid import Grid, codes_to_blocks, make_grid, per_row
from fedjax_diffusion.quantization.quantizer import Quantizer
from fedjax_diffusion.types import Array, Key, PyTree

_FAR = 2.0**64
"""A range above this, or below its reciprocal, is drawn in a unit that makes it nearer to 1."""
_Cast: TypeAlias = Callable[[Array], Array]


def stochastic_quantize(
    key: Key, tree: PyTree, num_bits: PyTree, uniform: Uniform = counter_uniform
) -> PyTree:
    """Quantizes every tensor of ``tree`` without bias and returns the receiver's values.

    Args:
      key: [], consumed; one draw per entry.
      tree: pytree of float arrays, each [...]; empty tensors do not change.
      num_bits: int32 [], or a pytree prefix of ``tree`` (bits per tensor); 1..16, or 32 for the
        identity. May be traced: a new value never recompiles. Only concrete values are checked;
        other traced values give an undefined result.
      uniform: makes the draws; ``jax.random.uniform`` draws with threefry, several times slower.
        Static.

    Returns:
      A pytree like ``tree``, same dtypes, as JAX keeps them (float64 becomes float32). A tensor
      with a NaN, an infinity or a range that overflows float32 becomes all NaN (at 32 bits:
      unchanged), so that the sender's failure, see ``is_quantizable``, never gives plausible
      numbers.

    Raises:
      ValueError: a concrete ``num_bits`` outside 1..16 or 32; a leaf that is no array of floats.

    Guarantees:
      ``E[Q(x)] = x``, in the dtype of x; ``E||Q(x) - x||^2 <= quantization_error_bound``; constant
      and one-entry tensors are exact; equal to ``decode_update(encode_update(key, tree, num_bits),
      tree)``, bit for bit, and the same under ``jit``, ``vmap``, ``lax.map`` and ``shard_map``.
      Entries below the smallest normal number of their dtype may count as 0, as on CPUs: visible in
      float32 at steps below 1e-35, in float16 at 6e-5.

    >>> tree = {"w": jnp.array([0.0, 0.25, 1.0])}
    >>> jax.jit(stochastic_quantize)(jax.random.key(0), tree, 32)["w"].tolist()
    [0.0, 0.25, 1.0]

    Source: stochastic k-level quantization, Suresh et al. 2017 (arXiv 1611.00429), as in arXiv
    2403.04430; the rounding of the step is ours.
    """
    blocks = tree_to_blocks(tree)
    grid = make_grid(blocks, tree, num_bits)
    return blocks_to_tree(_quantize(key, blocks, grid, tree, uniform, _make_cast(tree)), tree)


def quantize_blocks(
    key: Key, blocks: Array, grid: Grid, like: PyTree, uniform: Uniform = counter_uniform
) -> Array:
    """Returns the receiver's values, float32 [R, 128]; NaN in tensors that cannot be quantized."""
    return _quantize(key, blocks, grid, like, uniform, _identity)


def draw_codes(
    key: Key, blocks: Array, grid: Grid, like: PyTree, uniform: Uniform = counter_uniform
) -> Array:
    """Draws the code of every entry without bias: int32 [R, 128].

    Args:
      key: [], consumed; one draw per entry.
      blocks: float32 [R, 128], ``tree_to_blocks``.
      grid: of these blocks; every entry is within its range.
      like: the tree, or its shapes.
      uniform: as in ``stochastic_quantize``.

    Returns:
      Codes in 0..2^b - 1; 0 if the step is 0, undefined if the spread is not finite.

    Guarantees:
      The same under ``jit``, ``vmap``, ``lax.map`` and ``shard_map``, entry by entry: nothing is
      added to a rounded product, so a fused multiply-add changes nothing.
    """
    return _draw(key, blocks, grid, like, uniform, _identity).astype(jnp.int32)


def _quantize(
    key: Key, blocks: Array, grid: Grid, like: PyTree, uniform: Uniform, cast: _Cast
) -> Array:
    codes = _draw(key, blocks, grid, like, uniform, cast)
    sent = grid._replace(lo=jnp.where(jnp.isfinite(grid.spread), grid.lo, jnp.nan))
    value = cast(codes_to_blocks(codes, sent, like))
    is_float = (grid.num_bits == FULL_PRECISION_BITS)[row_tensors(like), None]
    return jnp.where(is_float, blocks, value)


def _draw(
    key: Key, blocks: Array, grid: Grid, like: PyTree, uniform: Uniform, cast: _Cast
) -> Array:
    """Draws codes as float32 [R, 128]: integers that can be multiplied without conversion.

    Rounding keeps the order of numbers, so x is between the value of the nearest code and that of
    its neighbour on x's side: a code is always in 0..2^b - 1, and a gap of 0 means that x is exact.
    """
    unit = jnp.where(grid.spread > _FAR, 1 / _FAR, jnp.where(grid.spread < 1 / _FAR, _FAR, 1.0))
    unit = jnp.where(grid.step > 0, unit, 0.0)  # a step of 0: every entry is the constant
    step = grid.step * unit
    inverse_step = divide(jnp.ones_like(step), jnp.where(step > 0, step, 1.0))
    unit, lo, step, inverse_step = per_row(like, unit, grid.lo * unit, step, inverse_step)
    x = blocks * unit
    nearest = jnp.round((x - lo) * inverse_step)
    value = cast(lo + step * nearest)
    neighbour = nearest + jnp.where(x < value, -1.0, 1.0)
    gap = jnp.abs(cast(lo + step * neighbour) - value)
    is_neighbour = uniform(key, blocks.shape) * gap < jnp.abs(x - value)
    return jnp.where(is_neighbour, neighbour, nearest)


def _identity(value: Array) -> Array:
    return value


def _make_cast(tree: PyTree) -> _Cast:
    """Returns the rounding of float32 [R, 128] values to the dtypes of their tensors.

    It saturates if a cast would overflow.
    """
    dtypes = np.array([to_jax_dtype(x.dtype) for x in jax.tree.leaves(tree)])[row_tensors(tree)]

    def cast(value: Array) -> Array:
        for dtype in set(dtypes) - {np.dtype(np.float32)}:
            info = jnp.finfo(dtype)
            rounded = jax.lax.reduce_precision(value, info.nexp, info.nmant)
            rounded = jnp.clip(rounded, float(info.min), float(info.max))
            value = jnp.where((dtypes == dtype)[:, None], rounded, value)
        return value

    return cast


STOCHASTIC = Quantizer(wire_number=0, make_grid=make_grid, choose_codes=draw_codes)
"""Stochastic uniform quantization."""
