"""Random rotation: spreads a tensor's few large entries over many before it is quantized.

Every full block x of 64 entries becomes

    y = H (s * x) / 8,   s_i = +1 or -1 at random, H the Hadamard matrix of order 64,

an orthogonal map: the receiver draws the same signs from the same seed and applies the inverse, so
squared errors do not change. For any distribution of x, the entries of y are nearly normal with the
variance of x: the range of heavy-tailed tensors shrinks, that of light-tailed ones grows a little.
A last block that is not full is not rotated, so the number of codes does not change.

Source: Suresh et al. 2017, "Distributed Mean Estimation with Limited Communication", section 3.
Blocks instead of one padded transform are this project's own. Their size is 64 because its square
root is a power of two: only additions round, so both ends and all mappings compute the same
numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.bits import FULL_PRECISION_BITS
from fedjax_diffusion.quantization.blocks import tensor_sizes
from fedjax_diffusion.quantization.bounds import grid_error_bound
from fedjax_diffusion.quantization.grid import Grid, make_grid
from fedjax_diffusion.quantization.padding import row_entries
from fedjax_diffusion.quantization.quantizer import Quantizer
from fedjax_diffusion.quantization.stochastic import draw_codes
from fedjax_diffusion.types import Array, PyTree

SEED_BITS = 64
"""Bits of the seed from which the receiver draws the signs."""
_BLOCK = 64
_NUM_ROUNDS = 6
_WORD = 32
ROUNDING = 2 * _NUM_ROUNDS * 2.0**-24
"""Largest error of rotation and inverse in float32, relative to the norm of the entries.

Every entry passes six additions each way.
"""


def rotate(seed: Array, blocks: Array, like: PyTree) -> Array:
    """Rotates the full blocks of float32 [R, 128].

    Args:
      seed: uint32 [2]; the signs depend only on it and on the shapes.
      blocks: float32 [R, 128], ``tree_to_blocks``.
      like: the tree, or its shapes.
    """
    return jnp.where(_is_full(like), _hadamard(_flip(seed, blocks)), blocks)


def rotate_back(seed: Array, blocks: Array, like: PyTree) -> Array:
    """Inverts ``rotate`` with the same seed, up to ``ROUNDING``."""
    return jnp.where(_is_full(like), _flip(seed, _hadamard(blocks)), blocks)


def make_rotated_grid(blocks: Array, like: PyTree, num_bits: PyTree) -> Grid:
    """Returns ``make_grid`` with an infinite spread if the inverse rotation may overflow.

    The inverse adds 64 values of the grid, and the codes may be any.

    Args:
      blocks: float32 [R, 128], rotated.
      like: the tree, or its shapes.
      num_bits: as in ``make_grid``.
    """
    grid = make_grid(blocks, like, num_bits)
    largest = jnp.abs(grid.lo) + 1.01 * grid.spread  # the step is rounded up by less than 1 %
    return grid._replace(spread=jnp.where(jnp.isfinite(_BLOCK * largest), grid.spread, jnp.inf))


def rotated_error_bound(grid: Grid, like: PyTree) -> Array:
    """Returns the bound on ``E||Q(x) - x||^2``, float32 [], with the rounding of the rotations.

        (sqrt(quantization) + ROUNDING ||x||)^2,   ||x||^2 <= sum_j D_j max(|lo_j|, |hi_j|)^2

    For bell-shaped tensors rounding adds less than 1 % up to 12 bits and a tenth at 16: it is below
    the quantization error unless a rotated tensor is nearly constant.
    """
    sizes = jnp.asarray(tensor_sizes(like), jnp.float32)
    largest = jnp.maximum(jnp.abs(grid.lo), jnp.abs(grid.lo + grid.spread))
    squared = jnp.where(grid.num_bits == FULL_PRECISION_BITS, 0.0, sizes * jnp.square(largest))
    rounding = ROUNDING * jnp.sqrt(squared.sum())
    return jnp.square(jnp.sqrt(grid_error_bound(grid, like)) + rounding)


def _is_full(like: PyTree) -> np.ndarray:
    """Returns whether each entry is in a full block of its tensor, bool [R, 128]."""
    blocks_end = np.array([_BLOCK, 2 * _BLOCK])
    return np.repeat(row_entries(like)[:, None] >= blocks_end[None, :], _BLOCK, axis=1)


def _hadamard(blocks: Array) -> Array:
    """Multiplies each block by ``H / 8``, its own inverse, in six rounds of butterflies.

    A matrix product is several times as fast on a CPU, but its sums have several times the rounding
    error, and their order depends on the mapping.
    """
    sums = blocks.reshape(-1, _BLOCK)
    for _ in range(_NUM_ROUNDS):
        left, right = jnp.split(sums, 2, axis=1)
        sums = jnp.stack([left + right, left - right], axis=-1).reshape(sums.shape)
    return sums.reshape(blocks.shape) / np.sqrt(_BLOCK)


def _flip(seed: Array, blocks: Array) -> Array:
    """Negates a random half of the entries, by one bit of the seed's stream per entry."""
    key = jax.random.wrap_key_data(seed, impl="threefry2x32")
    words = jax.random.bits(key, (len(blocks), blocks.shape[1] // _WORD), jnp.uint32)
    bits = (words[:, :, None] >> np.arange(_WORD, dtype=np.uint32)[None, None, :]) & 1
    return jnp.where(bits.reshape(blocks.shape) == 1, -blocks, blocks)


ROTATED = Quantizer(
    wire_number=3,
    make_grid=make_rotated_grid,
    choose_codes=draw_codes,
    error_bound=rotated_error_bound,
    transform=rotate,
    inverse=rotate_back,
    extra_overhead_bits=SEED_BITS,
    max_summed=_BLOCK,
)
