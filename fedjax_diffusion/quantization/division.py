"""Division that gives the same bits on every device."""

import jax.numpy as jnp
from jax import lax

from fedjax_diffusion.quantization.float32 import SMALLEST_NORMAL
from fedjax_diffusion.types import Array

_FRACTION = 0x7FFFFF
_ONE = 0x800000


def divide(x: Array, y: Array) -> Array:
    """Returns ``x / y`` correctly rounded, float32 [...].

    On a GPU, XLA's float32 division is exact only to two units in the last place, and a grid with
    an error of one unit gives other codes and another message. So only a CPU uses its division.

    Args:
      x: float32 [...].
      y: float32 [...], the same shape.

    Guarantees:
      The bits of IEEE 754 division on every device if x, y and x / y are positive and normal.

    >>> divide(jnp.float32(1), jnp.float32(3)).item() == (jnp.float32(1) / 3).item()
    True
    """
    return lax.platform_dependent(x, y, cpu=jnp.divide, default=divide_integers)


def divide_integers(x: Array, y: Array) -> Array:
    """Returns ``x / y`` like ``divide``, by integer operations if it is positive and normal.

    Otherwise the device divides.
    """
    word_x, word_y = (lax.bitcast_convert_type(value, jnp.uint32) for value in (x, y))
    part_x, part_y = ((word & _FRACTION) | _ONE for word in (word_x, word_y))
    is_less = part_x < part_y
    rest = jnp.where(is_less, 2 * part_x, part_x)  # so that the quotient is in [1, 2)
    quotient = lax.div(rest, part_y)
    rest = lax.rem(rest, part_y)
    for _ in range(3):  # 24 fractional bits, 8 at a time: nothing overflows 32 bits
        rest = rest << 8
        quotient = (quotient << 8) | lax.div(rest, part_y)
        rest = lax.rem(rest, part_y)
    exponents = ((word >> 23).astype(jnp.int32) for word in (word_x, word_y))
    exponent = next(exponents) - next(exponents) + 127 - is_less
    # 25 bits are known; a quotient of 24-bit numbers is never halfway between two of them.
    word = (exponent.astype(jnp.uint32) << 23) + ((quotient + 1) >> 1) - _ONE
    is_normal = (x >= SMALLEST_NORMAL) & (y >= SMALLEST_NORMAL) & jnp.isfinite(x + y)
    is_normal &= (exponent >= 1) & (exponent <= 253)
    exact = lax.bitcast_convert_type(word, jnp.float32)
    return jnp.where(is_normal, exact, x / y)
