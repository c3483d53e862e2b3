"""Codes to bits and back, on the device: one program per level, the same for every tensor.

A level of b bits packs the 128 codes of a row into 16 b bytes: code i takes the bits ``b i .. b i +
b - 1`` of the row, and bit n of the row is bit ``n mod 8``, least significant first, of byte ``n //
8``. Eight codes fill b bytes exactly, so every eighth code starts a byte, at every level.

The bytes are made as little endian words of W bits (8 and 16 at those levels, otherwise 32) in two
vectorized steps: p neighbours, as many as a word takes whole, are shifted together to a unit of p b
bits; where p b = W that is a word, otherwise each word is cut out of the at most three units that
it covers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.quantization.blocks import ROW
from fedjax_diffusion.types import Array


def pack_codes(codes: Array, level: int) -> Array:
    """Packs unsigned [R, 128] codes below ``2^level`` to words [R, 128 level / W], W bits each.

    >>> [hex(word) for word in pack_codes(jnp.full((1, 128), 9, jnp.uint8), 4)[0, :2].tolist()]
    ['0x99999999', '0x99999999']
    """
    return codes if _is_packed(codes, level) else _pack_codes(codes, level)


def unpack_codes(words: Array, level: int) -> Array:
    """Returns the codes, uint8 [R, 128] up to a level of 8 and uint16 above, of packed words."""
    return words if _is_packed(words, level) else _unpack_codes(words, level)


def word_dtype(level: int) -> np.dtype:
    """Returns the unsigned type of the words that ``pack_codes`` makes."""
    return np.dtype({8: np.uint8, 16: np.uint16}.get(level, np.uint32))


def code_dtype(level: int) -> np.dtype:
    """Returns the smallest unsigned type that holds a code of ``level`` <= 16 bits."""
    return np.dtype(np.uint8 if level <= 8 else np.uint16)


def _is_packed(array: Array, level: int) -> bool:
    """Returns whether a code fills its word."""
    return array.dtype == word_dtype(level) and level == 8 * array.dtype.itemsize


@functools.partial(jax.jit, static_argnames="level")
def _pack_codes(codes: Array, level: int) -> Array:
    dtype, width = word_dtype(level), 8 * word_dtype(level).itemsize
    # The largest power of two, so that it divides a row.
    per_unit = 1 << (width // level).bit_length() - 1
    # Slices with a stride, not a sum over an axis: these become vector instructions.
    flat = codes.ravel()
    parts = [flat[i::per_unit].astype(dtype) << level * i for i in range(per_unit)]
    units = functools.reduce(jnp.bitwise_or, parts).reshape(-1, ROW // per_unit)
    return units if per_unit * level == width else _units_to_words(units, per_unit * level)


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


@functools.partial(jax.jit, static_argnames="level")
def _unpack_codes(words: Array, level: int) -> Array:
    dtype, width = words.dtype, 8 * words.dtype.itemsize
    word, shift = np.divmod(level * np.arange(ROW), width)
    if width % level == 0:
        codes = jnp.repeat(words, width // level, axis=1) >> _row(shift, dtype)
    else:
        is_cut = shift + level > width  # the code goes on in the next word
        rest = words[:, np.minimum(word + 1, words.shape[1] - 1)]
        rest = rest << _row((width - shift) * is_cut, dtype)
        codes = words[:, word] >> _row(shift, dtype) | jnp.where(is_cut[None], rest, 0)
    return (codes & (2**level - 1)).astype(code_dtype(level))


def _row(shifts: np.ndarray, dtype: np.dtype) -> Array:
    return jnp.asarray(shifts, dtype)[None]
