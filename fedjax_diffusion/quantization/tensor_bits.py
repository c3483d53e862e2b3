"""Bits per tensor: b bits per entry on average, split over the tensors for the smallest error.

    min sum_j V_j error_curve_j(b_j)   subject to   sum_j D_j b_j <= d b,   b_j in 1..16,

V_j the range variance of tensor j, ``error_curve_j(b) = 1 / (2^b - 1)^2`` on a uniform grid. One
price per bit separates the tensors: each takes another bit as long as that saves more error than it
costs. The error curves are convex in b, so the optimum at every price is a prefix of all increments
of all tensors, sorted by the error that each saves per bit. The rest of the budget goes to the next
increments that still fit.

Guarantees:
  The payload is at most that of b bits for all; the error is at most that of b bits for all; and it
  exceeds the smallest possible error by less than the saving of the first increment that does not
  fit (the relaxed optimum takes a fraction of that one and nothing else beyond the prefix).

The price is the multiplier of arXiv 2403.04430, with tensors in place of clients; the statement is
this project's own.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.bits import (
    BIT_WIDTHS,
    MAX_BITS,
    UNIFORM_ERROR_CURVE,
    bit_width_index,
)
from fedjax_diffusion.types import Array, PyTree

_MOST_UNITS = 2**31 - 1


def split_bits(
    range_variances: Array,
    sizes: np.ndarray,
    num_bits: Array | int,
    *,
    error_curve: np.ndarray = UNIFORM_ERROR_CURVE,
    min_bits: int = 1,
) -> Array:
    """Splits ``num_bits`` bits per entry over the tensors.

    Args:
      range_variances: float32 [L] >= 0, V_j in any common unit; divide ranges by the largest one
        before squaring them, else tiny ones underflow to 0.
      sizes: int [L] >= 0, D_j, on the host.
      num_bits: int32 [], b in 1..16, or 32; may be traced.
      error_curve: float64 [B, L] or [B, 1], squared error per unit of range variance at each of
        ``BIT_WIDTHS``; decreasing and convex over ``min_bits..16``.
      min_bits: the smallest bit width of a tensor. A smaller ``num_bits`` is returned unchanged.

    Returns:
      int32 [L], in ``min_bits..16``; all 32 at 32. A tensor with V_j = 0 gets ``min_bits``. Ties
      go to the lower bit width, then to the earlier tensor, so equal V_j / D_j get equal bits.

    >>> split = jax.jit(lambda variances: split_bits(variances, np.array([10, 10, 10]), 4))
    >>> split(jnp.array([1.0, 16.0, 0.0])).tolist()
    [5, 6, 1]
    """
    chex.assert_shape(range_variances, (len(sizes),))
    worth = _log_worth(range_variances, sizes, error_curve, min_bits)
    order = jnp.argsort(-worth.ravel())
    unit = -(-MAX_BITS * int(np.sum(sizes)) // _MOST_UNITS) or 1
    costs = np.tile(-(-np.asarray(sizes) // unit), len(worth)).astype(np.int32)
    spare_bits = jnp.minimum(num_bits, MAX_BITS) - min_bits
    is_taken = _take_increments(
        jnp.asarray(costs)[order],
        jnp.isfinite(worth.ravel()[order]),
        spare_bits * int(np.sum(sizes) // unit),
    )
    taken = jnp.zeros(order.shape, jnp.int32).at[order].set(is_taken.astype(jnp.int32))
    split = min_bits + taken.reshape(worth.shape).sum(axis=0)
    uniform = jnp.broadcast_to(jnp.asarray(num_bits, jnp.int32), split.shape)
    is_better = split_error(range_variances, split, error_curve) < split_error(
        range_variances, uniform, error_curve
    )
    bits = jnp.where(is_better & (spare_bits >= 0), split, uniform)
    is_spared = (range_variances == 0) & (uniform <= MAX_BITS)
    return jnp.where(is_spared, jnp.minimum(min_bits, uniform), bits)


def split_bit_widths(
    range_variances: Array,
    sizes: np.ndarray,
    *,
    error_curve: np.ndarray = UNIFORM_ERROR_CURVE,
    min_bits: int = 1,
) -> Array:
    """Returns ``split_bits`` at every bit width of ``BIT_WIDTHS``, int32 [B, L]."""
    return jax.vmap(
        lambda b: split_bits(range_variances, sizes, b, error_curve=error_curve, min_bits=min_bits)
    )(jnp.array(BIT_WIDTHS, jnp.int32))


def split_error(
    range_variances: Array, bits: Array, error_curve: np.ndarray = UNIFORM_ERROR_CURVE
) -> Array:
    """Returns ``sum_j V_j error_curve_j(b_j)``, float32 [...], of bits int32 [..., L]."""
    table = jnp.asarray(
        np.broadcast_to(error_curve, (len(BIT_WIDTHS), bits.shape[-1])), jnp.float32
    )
    unit_error = table[bit_width_index(bits), np.arange(bits.shape[-1])]
    return jnp.sum(unit_error * jnp.broadcast_to(range_variances, bits.shape), axis=-1)


def bits_to_tree(bits: Array, like: PyTree) -> PyTree:
    """Returns int32 [L] as a pytree of scalars with the structure of ``like``."""
    return jax.tree.unflatten(jax.tree.structure(like), list(bits))


def _log_worth(
    range_variances: Array, sizes: np.ndarray, error_curve: np.ndarray, min_bits: int
) -> Array:
    """Returns the log of the error saved by each further bit, per bit of payload, float32 [n, L].

    Row i is the step from ``min_bits + i`` to the next bit width, up to 16. Minus infinity if
    nothing is saved. Logarithms, because products of the factors may overflow or underflow.
    """
    saved = error_curve[min_bits - 1 : MAX_BITS - 1] - error_curve[min_bits:MAX_BITS]
    per_bit = np.log(np.where(saved > 0, saved, 1.0) / np.fmax(sizes, 1))
    is_saving = (saved > 0) & (range_variances > 0)[None, :]
    variances = jnp.where(range_variances > 0, range_variances, 1.0)
    worth = jnp.log(variances)[None, :] + jnp.asarray(per_bit, jnp.float32)
    return jnp.where(is_saving, worth, -jnp.inf)


def _take_increments(costs: Array, is_wanted: Array, budget: Array) -> Array:
    """Takes increments in order while they fit, skips one that does not, and continues.

    Increments of one tensor cost the same and are in the order of their bit widths, so none is
    taken before the ones below it. Each pass takes at least one; there are about as many passes as
    different tensor sizes.

    Args:
      costs: int32 [n] >= 0, sorted by worth.
      is_wanted: bool [n].
      budget: int32 [].

    Returns:
      bool [n].
    """

    def take(state):
        is_taken, is_open, left = state
        priced = jnp.where(is_open, costs, 0)
        is_chosen = is_open & (jnp.cumsum(priced) <= left)
        left = left - jnp.where(is_chosen, costs, 0).sum()
        return is_taken | is_chosen, is_open & ~is_chosen & (costs <= left), left

    start = (jnp.zeros_like(is_wanted), is_wanted & (costs <= budget), jnp.asarray(budget))
    return jax.lax.while_loop(lambda state: state[1].any(), take, start)[0]
