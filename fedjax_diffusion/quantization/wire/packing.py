"""Packing of codes to bits and back, on the device: one program per bit width for all tensors.

At b bits the 128 codes of a row are packed into 16 b bytes: code i takes the bits ``b i .. b i + b
- 1`` of the row, and bit n of the row is bit ``n mod 8``, least significant first, of byte
``n // 8``. Eight codes fill b bytes exactly, so every eighth code starts a byte at every bit width.

The bytes are made as little endian words of W bits (8 and 16 at those bit widths, otherwise 32) in
two vectorized steps. First p neighbours, as many as fit into a word, are shifted together to a unit
of p b bits. If p b = W, this is a word; otherwise each word is cut out of the at most three units
that it covers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.quantization.blocks import ROW
from fedjax_diffusion.types import Array


def pack_codes(codes: Array, bit_width: int) -> Array:
    """Packs unsigned [R, 128] codes of b bits to words [R, 128 b / W] of W bits each.

    >>> [hex(word) for word in pack_codes(jnp.full((1, 128), 9, jnp.uint8), 4)[0, :2].tolist()]
    ['0x99999999', '0x99999999']
    """
    return codes if _is_packed(codes, bit_width) else _pack_codes(codes, bit_width)


def unpack_codes(words: Array, bit_width: int) -> Array:
    """Returns the codes of packed words, uint8 [R, 128] up to 8 bits and uint16 above."""
    return words if _is_packed(words, bit_width) else _unpack_codes(words, bit_width)


def word_dtype(bit_width: int) -> np.dtype:
    """Returns the unsigned type of the words of ``pack_codes``."""
    return np.dtype({8: np.uint8, 16: np.uint16}.get(bit_width, np.uint32))


def code_dtype(bit_width: int) -> np.dtype:
    """Returns the smallest unsigned type that holds a code of ``bit_width`` <= 16 bits."""
    return np.dtype(np.uint8 if bit_width <= 8 else np.uint16)


def _is_packed(array: Array, bit_width: int) -> bool:
    """Returns whether each code fills its word, so that nothing is to pack."""
    return array.dtype == word_dtype(bit_width) and bit_width == 8 * array.dtype.itemsize


@functools.partial(jax.jit, static_argnames="bit_width")
def _pack_codes(codes: Array, bit_width: int) -> Array:
    dtype, width = word_dtype(bit_width), 8 * word_dtype(bit_width).itemsize
    # The largest power of two that fits, so that it divides a row.
    per_unit = 1 << (width // bit_width).bit_length() - 1
    # Slices with a stride become vector instructions; a sum over an axis does not.
    flat = codes.ravel()
    parts = [flat[i::per_unit].astype(dtype) << bit_width * i for i in range(per_unit)]
    units = functools.reduce(jnp.bitwise_or, parts).reshape(-1, ROW // per_unit)
    return units if per_unit * bit_width == width else _units_to_words(units, per_unit * bit_width)


def _units_to_words(units: Array, unit_bits: int) -> Array:
    """Cuts uint32 [R, n], units of 17..31 bits, to uint32 [R, n unit_bits / 32], full words."""
    num_units = units.shape[1]
    first, skipped = np.divmod(32 * np.arange(num_units * unit_bits // 32), unit_bits)
    words = units[:, first] >> _row(skipped, units.dtype)
    for i in (1, 2):
        shift = i * unit_bits - skipped
        is_in = (shift < 32) & (first + i < num_units)
        part = units[:, np.minimum(first + i, num_units - 1)]
        words |= jnp.where(is_in[None], part << _row(shift * is_in, units.dtype), 0)
    return words


@functools.partial(jax.jit, static_argnames="bit_width")
def _unpack_codes(words: Array, bit_width: int) -> Array:
    dtype, width = words.dtype, 8 * words.dtype.itemsize
    word, shift = np.divmod(bit_width * np.arange(ROW), width)
    if width % bit_width == 0:
        codes = jnp.repeat(words, width // bit_width, axis=1) >> _row(shift, dtype)
    else:
        is_cut = shift + bit_width > width  # the code continues in the next word
        rest = words[:, np.minimum(word + 1, words.shape[1] - 1)]
        rest = rest << _row((width - shift) * is_cut, dtype)
        codes = words[:, word] >> _row(shift, dtype) | jnp.where(is_cut[None], rest, 0)
    return (codes & (2**bit_width - 1)).astype(code_dtype(bit_width))


def _row(shifts: np.ndarray, dtype: np.dtype) -> Array:
    return jnp.asarray(shifts, dtype)[None]
