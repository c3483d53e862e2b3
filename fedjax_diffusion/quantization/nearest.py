"""Deterministic rounding to the nearest value of the uniform grid: no random draws, but a bias.

    code_i = argmin_c |x_i - (lo + Delta c)|,   so   ||Q(x) - x||^2 <= D Delta^2 / 4.

The worst case equals the bound of stochastic quantization, but the errors of several clients do not
average out: see ``Quantizer.aggregation_factor``.
"""

import jax.numpy as jnp

from fedjax_diffusion.quantization.grid import Grid, make_grid
from fedjax_diffusion.quantization.quantizer import Quantizer
from fedjax_diffusion.quantization.stochastic import draw_codes
from fedjax_diffusion.types import Array, Key, PyTree


def nearest_codes(key: Key, blocks: Array, grid: Grid, like: PyTree) -> Array:
    """Returns the code of the nearest grid value, int32 [R, 128].

    It is ``draw_codes`` with 1/2 for every draw: it rounds up above the middle. The nearest of the
    grid's float32 values, so the error is at most half a step and half a unit in the last place.

    Args:
      key: [], without effect.
      blocks: float32 [R, 128], ``tree_to_blocks``.
      grid: of these blocks.
      like: the tree, or its shapes.
    """
    return draw_codes(key, blocks, grid, like, _half)


def _half(key: Key, shape: tuple[int, ...]) -> Array:
    del key
    return jnp.full(shape, 0.5, jnp.float32)


NEAREST = Quantizer(
    wire_number=1, make_grid=make_grid, choose_codes=nearest_codes, is_unbiased=False
)
