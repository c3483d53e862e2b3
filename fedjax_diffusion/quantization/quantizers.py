"""The paper's quantizer and its rivals behind one registry and one entry point.

Whatever a scheme does, what it sends is a ``Grid`` (two numbers and a level per tensor), one code
per entry and at most a seed, so one wire format carries them all:

    value = inverse(seed, lo + step * code).

==============  ===================================================  ========  ===========
name            bound on E||Q(x) - x||^2 per tensor                  unbiased  least level
==============  ===================================================  ========  ===========
``stochastic``  ``D (hi - lo)^2 / (4 (2^b - 1)^2)``, Theorem 1       yes       1
``nearest``     the same number, as a worst case                     no        1
``qsgd``        ``min(D / (4 s^2), sqrt(D) / s) ||x||^2``,           yes       2
                ``s = 2^(b - 1) - 1``
``rotated``     Theorem 1 on the rotated entries                     yes       1
``none``        0                                                    yes       32
==============  ===================================================  ========  ===========

A new quantizer is one function and one line in ``QUANTIZERS``.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fedjax_diffusion.keys import seed_to_key, step_key
from fedjax_diffusion.quantization.blocks import row_tensors, tensor_sizes, tree_to_blocks
from fedjax_diffusion.quantization.bounds import grid_error_bound
from fedjax_diffusion.quantization.nearest import nearest_codes
from fedjax_diffusion.quantization.qsgd import (
    MIN_QSGD_BITS,
    make_qsgd_grid,
    qsgd_error_bound,
    qsgd_law,
)
from fedjax_diffusion.quantization.rotation import (
    SEED_BITS,
    make_rotated_grid,
    rotate,
    rotate_back,
    rotated_error_bound,
)
from fedjax_diffusion.quantization.stochastic import (
    FLOAT_BITS,
    LEVELS,
    Grid,
    check_num_bits,
    codes_to_blocks,
    draw_codes,
    make_grid,
)
from fedjax_diffusion.quantization.tensor_bits import (
    UNIFORM_LAW,
    bits_to_tree,
    level_index,
    split_error,
    split_levels,
)
from fedjax_diffusion.types import Array, Key, PyTree

Transform = Callable[[Array, Array, PyTree], Array]
"""``(seed uint32 [2], blocks [R, 128], like) -> blocks``, norms preserved."""


def _uniform_law(sizes: np.ndarray) -> np.ndarray:
    del sizes
    return UNIFORM_LAW


class Quantizer(NamedTuple):
    """A scheme as pure functions, and what a planner and a wire format must know of it.

    Attributes:
      make_grid: ``(blocks, like, num_bits) -> Grid``; its ``spread`` must not depend on
        ``num_bits``.
      choose_codes: ``(key, blocks, grid, like) -> int32 [R, 128]``.
      error_law: ``sizes [L] -> float64 [B, L] or [B, 1]``: the bound on a tensor's squared error at
        each of ``LEVELS``, per unit of its range energy ``D spread^2 / 4``; decreasing and convex
        over ``min_bits..16``, 0 at 32.
      error_bound: ``(grid, like) -> float32 []``, the bound with the steps really sent.
      transform: what happens to the blocks before the grid is laid; None: nothing.
      inverse: its inverse, None like it.
      is_unbiased: whether ``E[Q(x)] = x``, so that the errors of clients average out.
      min_bits: the least level it has; a lower one is raised to it, so plan no lower.
      extra_overhead_bits: bits of a message beyond grid and codes, at 16 bits and less: the seed.
    """

    make_grid: Callable[[Array, PyTree, PyTree], Grid]
    choose_codes: Callable[[Key, Array, Grid, PyTree], Array]
    error_law: Callable[[np.ndarray], np.ndarray] = _uniform_law
    error_bound: Callable[[Grid, PyTree], Array] = grid_error_bound
    transform: Transform | None = None
    inverse: Transform | None = None
    is_unbiased: bool = True
    min_bits: int = 1
    extra_overhead_bits: int = 0

    def error_weight(self, weight: Any) -> Any:
        """Returns what a client's squared error counts in the aggregate's, [...] like ``weight``.

        ``E||sum_k a_k e_k||^2 <= sum_k a_k^2 E||e_k||^2`` for independent errors of mean zero;
        otherwise no more is known than ``sum_k a_k ||e_k||^2`` (Jensen, ``sum_k a_k = 1``).
        """
        return weight**2 if self.is_unbiased else weight


class Quantized(NamedTuple):
    """One upload. Under ``jit`` a field that is not read costs nothing.

    Attributes:
      decoded: float32 [R, 128], what the receiver has; NaN in a tensor that cannot be quantized.
      codes: int32 [R, 128], in ``0..2^b - 1``; meaningless in a tensor of level 32.
      grid: ``Grid``, with the level of each tensor.
      seed: uint32 [2], what the receiver inverts the transform with; 0 without one.
      error_bound: float32 [], on ``E||Q(x) - x||^2`` with this grid.
      level_error: float32 [B], this upload's bound at each of ``LEVELS``: what the next round plans
        with. The step's rounding, below 0.8 %, is not in it.
    """

    decoded: Array
    codes: Array
    grid: Grid
    seed: Array
    error_bound: Array
    level_error: Array


QUANTIZERS: dict[str, Quantizer] = {
    "stochastic": Quantizer(make_grid, draw_codes),
    "nearest": Quantizer(make_grid, nearest_codes, is_unbiased=False),
    "qsgd": Quantizer(
        make_qsgd_grid, draw_codes, qsgd_law, qsgd_error_bound, min_bits=MIN_QSGD_BITS
    ),
    "rotated": Quantizer(
        make_rotated_grid,
        draw_codes,
        error_bound=rotated_error_bound,
        transform=rotate,
        inverse=rotate_back,
        extra_overhead_bits=SEED_BITS,
    ),
    "none": Quantizer(make_grid, draw_codes, min_bits=FLOAT_BITS),
}
"""The schemes by name; ``none`` sends float32 whatever is asked of it."""


def find_quantizer(name: str) -> Quantizer:
    """Returns a scheme by name.

    Raises:
      ValueError: an unknown name.
    """
    if name not in QUANTIZERS:
        raise ValueError(f"quantizer must be one of {', '.join(QUANTIZERS)}, got {name!r}")
    return QUANTIZERS[name]


def quantize(
    quantizer: Quantizer,
    key: Key,
    blocks: Array,
    like: PyTree,
    num_bits: PyTree,
    *,
    bits_per_tensor: bool = False,
) -> Quantized:
    """Quantizes an upload: the one way through every scheme.

    Args:
      quantizer: from ``find_quantizer``.
      key: [], consumed.
      blocks: float32 [R, 128], ``tree_to_blocks``.
      like: the tree, or its shapes.
      num_bits: int32 [], or a pytree prefix of ``like``; 1..16 or 32, raised to the scheme's
        ``min_bits``. May be traced.
      bits_per_tensor: whether ``num_bits``, then a scalar, is an average that is split over the
        tensors by ``split_bits``.

    Raises:
      ValueError: a concrete ``num_bits`` outside 1..16 or 32.

    **Guarantees**: ``stochastic`` equals ``stochastic_quantize`` of a float32 tree with the same
    key, and ``decoded`` equals ``dequantize`` of codes, grid and seed where the level is at most
    16, bit for bit. A tensor that cannot be sent is told by ``is_quantizable(grid)``.
    """
    values, seed = blocks, jnp.zeros(2, jnp.uint32)
    if quantizer.transform is not None:
        seed = jax.random.bits(step_key(key, 0), (2,), jnp.uint32)
        key = step_key(key, 1)
        values = quantizer.transform(seed, blocks, like)
    levels = jax.tree.map(lambda b: _raise_level(b, quantizer.min_bits), num_bits)
    grid = quantizer.make_grid(values, like, levels)
    curve = _level_bits(quantizer, grid, like, bits_per_tensor)
    if bits_per_tensor:
        bits = curve[level_index(levels)]
        grid = quantizer.make_grid(values, like, bits_to_tree(bits, like))
    codes = quantizer.choose_codes(key, values, grid, like)
    rows = row_tensors(like)
    decoded = dequantize(quantizer, codes, grid, seed, like)
    decoded = jnp.where(jnp.isfinite(grid.spread)[rows, None], decoded, jnp.nan)
    decoded = jnp.where((grid.num_bits == FLOAT_BITS)[rows, None], blocks, decoded)
    return Quantized(
        decoded=decoded,
        codes=codes,
        grid=grid,
        seed=seed,
        error_bound=quantizer.error_bound(grid, like),
        level_error=_level_error(quantizer, grid, like, curve),
    )


@functools.partial(jax.jit, static_argnames=("quantizer", "bits_per_tensor"))
def predict_level_error(
    quantizer: Quantizer, tree: PyTree, *, bits_per_tensor: bool = False
) -> Array:
    """Returns the bound on the squared error of sending ``tree`` at each of ``LEVELS``.

    Args:
      quantizer: from ``find_quantizer``; of ``rotated``, by one of its rotations.
      tree: pytree of float arrays.
      bits_per_tensor: as in ``quantize``.

    Returns:
      float32 [17], in squared parameter units.
    """
    blocks, num_bits = tree_to_blocks(tree), quantizer.min_bits
    per_tensor = {"bits_per_tensor": bits_per_tensor}
    return quantize(quantizer, seed_to_key(0), blocks, tree, num_bits, **per_tensor).level_error


def dequantize(quantizer: Quantizer, codes: Array, grid: Grid, seed: Array, like: PyTree) -> Array:
    """Returns what the receiver makes of a message, float32 [R, 128], for levels of at most 16."""
    values = codes_to_blocks(codes, grid, like)
    return values if quantizer.inverse is None else quantizer.inverse(seed, values, like)


def _level_bits(quantizer: Quantizer, grid: Grid, like: PyTree, bits_per_tensor: bool) -> Array:
    """Returns the bits of each tensor at each level that may be asked for, int32 [B, L]."""
    levels = jnp.maximum(jnp.array(LEVELS, jnp.int32), quantizer.min_bits)
    sizes = tensor_sizes(like)
    if not bits_per_tensor:
        return jnp.broadcast_to(levels[:, None], (len(LEVELS), len(sizes)))
    widest = grid.spread.max(initial=0.0)
    relative = grid.spread / jnp.where(widest > 0, widest, 1.0)
    energies = jnp.asarray(sizes, jnp.float32) * jnp.square(relative)
    law, min_bits = quantizer.error_law(sizes), quantizer.min_bits
    return split_levels(energies, sizes, law=law, min_bits=min_bits)[level_index(levels)]


def _level_error(quantizer: Quantizer, grid: Grid, like: PyTree, bits: Array) -> Array:
    """Returns the bound at each level, float32 [B], of bits int32 [B, L]; reads only the spread."""
    sizes = tensor_sizes(like)
    energies = jnp.asarray(sizes, jnp.float32) * jnp.square(grid.spread) / 4
    return split_error(energies, bits, quantizer.error_law(sizes))


def _raise_level(level: Any, min_bits: int) -> Any:
    """Returns ``max(level, min_bits)`` of one level, checked where it is concrete."""
    if isinstance(level, Tracer):
        return jnp.maximum(level, min_bits)
    check_num_bits(int(level))
    return max(int(level), min_bits)
