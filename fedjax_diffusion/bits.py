"""The bit widths of updates, and the error of uniform quantization at each of them."""

from typing import Annotated, TypeAlias

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.types import Array
from fedjax_diffusion.values import OneOf, Range

MAX_BITS = 16
"""The largest quantized bit width."""
FULL_PRECISION_BITS = 32
"""The bit width of unquantized float32."""
BIT_WIDTHS = (*range(1, MAX_BITS + 1), FULL_PRECISION_BITS)
"""The B = 17 bit widths: 1..16 quantized, 32 unquantized. A bit width's index is its place here."""
BitWidth: TypeAlias = Annotated[int, OneOf(BIT_WIDTHS, f"1..{MAX_BITS} or {FULL_PRECISION_BITS}")]
QuantizedBits: TypeAlias = Annotated[int, Range(1, MAX_BITS)]
UNIFORM_ERROR_CURVE = np.array(
    [[1 / (2.0**b - 1) ** 2 if b < FULL_PRECISION_BITS else 0.0] for b in BIT_WIDTHS]
)
"""float64 [B, 1]: squared error per unit of range variance on a uniform grid."""


def bit_width_index(num_bits: Array | np.ndarray | int) -> Array:
    """Returns the index in ``BIT_WIDTHS``, int32 like ``num_bits``, of bit widths 1..16 or 32.

    >>> bit_width_index(jnp.array([1, 16, 32])).tolist()
    [0, 15, 16]
    """
    return jnp.minimum(num_bits, len(BIT_WIDTHS)).astype(jnp.int32) - 1
