"""QSGD: a grid that is symmetric about zero and scaled by a tensor's Euclidean norm.

With ``s = 2^(b - 1) - 1`` levels and a sign, a tensor x is rounded without bias to multiples of
``Delta = ||x|| / s``. The ``2^b - 1`` codes need b bits; with b = 1 zero is the only value. The
largest entry of a dense tensor is far below its norm, so most of the grid is unused. In return a
tensor needs one number instead of two, and zero stays exactly zero.

Source: Alistarh et al. 2017, "QSGD", section 3.1; here whole tensors replace its buckets, and
``entropy`` or plain codes replace its Elias codes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS, MAX_BITS
from fedjax_diffusion.quantization.blocks import ROW, row_tensors, tensor_ranges, tensor_sizes
from fedjax_diffusion.quantization.division import divide
from fedjax_diffusion.quantization.float32 import MAX_EXPONENT, SMALLEST_NORMAL
from fedjax_diffusion.quantization.grid import Grid, broadcast_num_bits, round_step_up
from fedjax_diffusion.quantization.padding import row_entries
from fedjax_diffusion.quantization.quantizer import Quantizer
from fedjax_diffusion.quantization.stochastic import draw_codes
from fedjax_diffusion.types import Array, PyTree

MIN_QSGD_BITS = 2
"""The smallest bit width with a value other than zero."""
_ROOM = 1 + 2.0**-22
"""Factor that raises the step above a division's rounding, so that the grid reaches the norm."""


def make_qsgd_grid(blocks: Array, like: PyTree, num_bits: PyTree) -> Grid:
    """Returns the grids ``Delta * (-s..s)``, as ``lo = -s Delta`` and codes 0..2s.

    The step is rounded up to ``24 - b`` significant bits, as in ``make_grid``: every value of the
    grid is exact, zero is one of them, and the largest entry is within the grid. A tensor whose
    step would not be a normal float32 is sent as zeros.

    Args:
      blocks: float32 [R, 128], ``tree_to_blocks``.
      like: the tree, or its shapes.
      num_bits: int32 [] or a pytree prefix of ``like``, 2..16 or 32; may be traced.

    Returns:
      ``Grid`` with ``spread = 2 ||x||``, not finite if an entry is not, or if ``2 ||x||`` or
      ``2^b - 1`` steps overflow.
    """
    bit_widths = broadcast_num_bits(num_bits, like)
    bits = jnp.clip(bit_widths, MIN_QSGD_BITS, MAX_BITS)
    num_intervals = ((1 << (bits - 1)) - 1).astype(jnp.float32)
    norm = tensor_norms(blocks, like)
    exact_step = divide(norm, num_intervals)
    is_normal = exact_step >= SMALLEST_NORMAL
    step = jnp.where(is_normal, round_step_up(_ROOM * exact_step, bits), 0.0)
    lo = jnp.where(is_normal, -num_intervals * step, 0.0)
    last_code = ((1 << bits) - 1).astype(jnp.float32)  # never drawn, but valid for a receiver
    is_held = jnp.isfinite(lo) & jnp.isfinite(last_code * step) | (
        bit_widths == FULL_PRECISION_BITS
    )
    return Grid(lo, step, bit_widths, jnp.where(is_held, 2 * norm, jnp.inf))


def tensor_norms(blocks: Array, like: PyTree) -> Array:
    """Returns ``||x||`` of each tensor, float32 [L]; never below its largest entry.

    Entries are scaled by a power of two before they are squared: no square overflows or underflows.
    """
    lo, hi = tensor_ranges(blocks, like)
    largest, rows = jnp.maximum(-lo, hi), row_tensors(like)
    exponent = jnp.clip(jnp.frexp(largest)[1], -MAX_EXPONENT, MAX_EXPONENT)
    scaled = blocks * jnp.ldexp(jnp.float32(1), -exponent)[rows, None]
    is_entry = np.arange(ROW)[None, :] < row_entries(like)[:, None]
    squared = jnp.where(is_entry, jnp.square(scaled), 0.0).sum(axis=1)
    sums = jax.ops.segment_sum(squared, rows, len(largest), indices_are_sorted=True)
    return jnp.maximum(jnp.sqrt(sums) * jnp.ldexp(jnp.float32(1), exponent), largest)


def qsgd_error_curve(sizes: np.ndarray) -> np.ndarray:
    """Returns ``min(1 / (4 s^2), 1 / (s sqrt(D)))``, float64 [B, L], per unit of range variance.

    In units of ``D ||x||^2``, the range variance of a grid of width ``2 ||x||``, this is the
    paper's ``min(D / s^2, sqrt(D) / s) ||x||^2`` with the 1/4 of a Bernoulli variance, which the
    paper omits.

    Args:
      sizes: int [L], entries of each tensor.

    Source: Alistarh et al. 2017, Lemma 3.1 (ii).
    """
    bits = np.clip(BIT_WIDTHS, MIN_QSGD_BITS, MAX_BITS)[:, None]
    num_intervals = 2.0 ** (bits - 1) - 1
    error_curve = np.minimum(
        1 / (4 * num_intervals**2), 1 / (num_intervals * np.sqrt(np.fmax(sizes, 1)))
    )
    return np.where(np.array(BIT_WIDTHS)[:, None] == FULL_PRECISION_BITS, 0.0, error_curve)


def qsgd_error_bound(grid: Grid, like: PyTree) -> Array:
    """Returns the bound on ``E||Q(x) - x||^2``, float32 [], with the sent steps.

    ``sum_j min(D_j Delta_j^2 / 4, sqrt(D_j) Delta_j ||x_j||)``; ``||x_j||^2`` if zeros are sent.
    """
    sizes = jnp.asarray(tensor_sizes(like), jnp.float32)
    norm = grid.spread / 2
    rounded = jnp.minimum(sizes * jnp.square(grid.step) / 4, jnp.sqrt(sizes) * grid.step * norm)
    bound = jnp.where(grid.step > 0, rounded, jnp.square(norm))
    return jnp.where(grid.num_bits == FULL_PRECISION_BITS, 0.0, bound).sum()


QSGD = Quantizer(
    wire_number=2,
    make_grid=make_qsgd_grid,
    choose_codes=draw_codes,
    error_curve=qsgd_error_curve,
    error_bound=qsgd_error_bound,
    min_bits=MIN_QSGD_BITS,
)
