"""The type of all quantizers: their functions, and their properties for other packages."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fedjax_diffusion.bits import UNIFORM_ERROR_CURVE
from fedjax_diffusion.quantization.bounds import grid_error_bound
from fedjax_diffusion.quantization.grid import Grid
from fedjax_diffusion.types import Array, Key, PyTree

Transform = Callable[[Array, Array, PyTree], Array]
"""``(seed uint32 [2], blocks [R, 128], like) -> blocks``; norms preserved unless it is lossy."""
OWN_NUMBER = 255
"""The ``wire_number`` of all quantizers that users register; their messages hold a signature."""


class Payload(NamedTuple):
    """The codes of a quantizer's message in a form of its own, as NumPy functions on the host.

    Tensors of bit width 32 are sent as float32, as by every quantizer.

    Attributes:
      count_bits: ``(sizes int [L], bit_widths int [..., L]) -> int [..., L]``, the bits of each
        tensor's codes at bit widths 1..16; not decreasing in the bit width.
      pack: ``(codes int [n], bit_width) -> bool [count_bits]``, the bits of one tensor's codes.
      unpack: ``(bits bool [count_bits], size, bit_width) -> int [n]``, the codes again. A
        ``ValueError`` for bits that ``pack`` does not make refuses the message.
    """

    count_bits: Callable[[np.ndarray, np.ndarray], np.ndarray]
    pack: Callable[[np.ndarray, int], np.ndarray]
    unpack: Callable[[np.ndarray, int, int], np.ndarray]


def _uniform_error_curve(sizes: np.ndarray) -> np.ndarray:
    del sizes
    return UNIFORM_ERROR_CURVE


class Quantizer(NamedTuple):
    """The pure functions of a quantizer, and its properties for planner and wire format.

    Attributes:
      make_grid: ``(blocks, like, num_bits) -> Grid``; its ``spread`` must not depend on
        ``num_bits``.
      choose_codes: ``(key, blocks, grid, like) -> int32 [R, 128]``.
      error_curve: ``sizes [L] -> float64 [B, L] or [B, 1]``: the bound on a tensor's squared error
        at each of ``BIT_WIDTHS``, per unit of its range variance ``D spread^2 / 4``; decreasing and
        convex over ``min_bits..16``, 0 at 32.
      error_bound: ``(grid, like) -> float32 []``, the bound with the sent steps.
      wire_number: its unique number in messages, 0..254, never reused; or ``OWN_NUMBER``.
      transform: transform of the blocks before the grid is made; None: none.
      inverse: inverse of ``transform``; None: none.
      is_lossy: whether ``inverse`` does not undo ``transform``. The squared norm of the difference
        is then measured and added to every bound, so the errors of the codes must have mean zero
        or be orthogonal to it.
      is_unbiased: whether ``E[Q(x)] = x``, so that the errors of clients average out.
      min_bits: its smallest bit width; lower ones are raised to it, so plan no lower.
      extra_overhead_bits: bits of a message besides grid and codes, up to 16 bits: 64 for the seed,
        or 0.
      max_summed: the largest number of grid values that ``inverse`` adds to one entry.
      payload: form of the codes in messages; None: b bits per entry.
      signature: name and fingerprint in its messages; ``register_quantizer`` sets it.
    """

    make_grid: Callable[[Array, PyTree, PyTree], Grid]
    choose_codes: Callable[[Key, Array, Grid, PyTree], Array]
    error_curve: Callable[[np.ndarray], np.ndarray] = _uniform_error_curve
    error_bound: Callable[[Grid, PyTree], Array] = grid_error_bound
    wire_number: int = OWN_NUMBER
    transform: Transform | None = None
    inverse: Transform | None = None
    is_lossy: bool = False
    is_unbiased: bool = True
    min_bits: int = 1
    extra_overhead_bits: int = 0
    max_summed: int = 1
    payload: Payload | None = None
    signature: bytes = b""

    def aggregation_factor(self, weight: Any) -> Any:
        """Returns the factor of a client's squared error in the aggregate's, [...] like ``weight``.

        ``E||sum_k a_k e_k||^2 <= sum_k a_k^2 E||e_k||^2`` for independent errors of mean zero;
        otherwise the bound is ``sum_k a_k ||e_k||^2`` (Jensen, ``sum_k a_k = 1``).
        """
        return weight**2 if self.is_unbiased else weight
