"""Bounds on the quantization error of a tensor, a model and the aggregate.

    E||Q(x) - x||^2 <= D (hi - lo)^2 / (4 (2^b - 1)^2)      (a Bernoulli variance f (1 - f) is at
    most 1/4, in units of Delta^2)

Summed over the tensors j of a model: ``V / (2^b - 1)^2`` with ``V = sum_j D_j (hi_j - lo_j)^2 /
4``, the *range variance*. Clients draw independently and without bias, so for weights a_k the cross
terms vanish in expectation and the aggregate's error is at most ``sum_k a_k^2 V_k / (2^{b_k} -
1)^2``.

The values of a grid are rounded to the dtype of the tensor. This matters only if the step is at
most a few units in the last place of the entries: then a gap may be one unit wider than the step,
but most entries are values of the grid, without any error.
"""

import jax.numpy as jnp

from fedjax_diffusion.bits import FULL_PRECISION_BITS
from fedjax_diffusion.quantization.blocks import tensor_sizes, tree_to_blocks
from fedjax_diffusion.quantization.grid import Grid, make_grid
from fedjax_diffusion.types import Array, PyTree


def range_variance(tree: PyTree) -> Array:
    """Returns ``V = sum_j D_j (hi_j - lo_j)^2 / 4``, float32 [], in squared parameter units.

    >>> import jax
    >>> float(jax.jit(range_variance)({"w": jnp.array([-1.0, 0.0, 1.0])}))
    3.0
    """
    return grid_range_variance(make_grid(tree_to_blocks(tree), tree, 1), tree)


def quantization_error_bound(tree: PyTree, num_bits: PyTree) -> Array:
    """Returns the bound on ``E||Q(tree) - tree||^2``, with the sent step.

    Args:
      tree: pytree of float arrays.
      num_bits: int32 [] or a pytree prefix of ``tree``, 1..16 or 32 (error 0); may be traced.

    Returns:
      float32 [], in squared parameter units. The sent step is at most 0.8 % above ``(hi - lo) /
      (2^b - 1)`` (it is rounded up, see ``grid``); a tensor whose range is too small for a float32
      step counts ``D (hi - lo)^2``.

    Raises:
      ValueError: as of ``stochastic_quantize``.

    Source: Suresh et al. 2017 (arXiv 1611.00429), per tensor; it stands for Theorem 1 of arXiv
    2403.04430, whose text was not at hand.
    """
    return grid_error_bound(make_grid(tree_to_blocks(tree), tree, num_bits), tree)


def grid_range_variance(grid: Grid, like: PyTree) -> Array:
    """Returns ``range_variance`` from the grid of a tree shaped like ``like``."""
    return jnp.vdot(_sizes(like), jnp.square(grid.spread)) / 4


def grid_error_bound(grid: Grid, like: PyTree) -> Array:
    """Returns ``quantization_error_bound`` from the grid of a tree shaped like ``like``."""
    squared = jnp.where(grid.step > 0, jnp.square(grid.step) / 4, jnp.square(grid.spread))
    return jnp.vdot(_sizes(like), jnp.where(grid.num_bits == FULL_PRECISION_BITS, 0.0, squared))


def _sizes(like: PyTree) -> Array:
    return jnp.asarray(tensor_sizes(like), jnp.float32)
