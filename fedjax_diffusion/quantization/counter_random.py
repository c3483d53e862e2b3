"""Uniform random numbers by position: a hash of (key, row, column), the same on all devices.

Random bits are the main cost of quantization: a threefry draw takes longer than all other steps
together. Here a key gives two words, each row two more, and an entry needs two multiplications in
addition. Entries do not depend on each other, so compilers fuse the draw into its use, and loop,
``vmap``, chunks and devices draw the same numbers.
"""

from collections.abc import Callable
from typing import TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.types import Array, Key

Uniform: TypeAlias = Callable[[Key, tuple[int, ...]], Array]
"""``uniform(key, (R, C)) -> float32 [R, C]`` in [0, 1); ``jax.random.uniform`` is one too."""
_Words = TypeVar("_Words", Array, np.ndarray)

_FIRST_FACTOR, _SECOND_FACTOR = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)


def counter_uniform(key: Key, shape: tuple[int, ...]) -> Array:
    """Returns uniforms in [0, 1), float32 [R, C]; multiples of 2^-24, all equally likely.

    Args:
      key: [], consumed.
      shape: (R, C), each at most 2^31. Rows and columns are hashed separately, so R C may exceed
        2^32.

    Guarantees:
      ``P(u < p)`` is p rounded up to a multiple of 2^-24. ``u[r, c]`` depends only on the key, r
      and c: a larger shape begins with the draws of a smaller one. Not for cryptography.

    >>> draw = jax.jit(counter_uniform, static_argnames="shape")
    >>> small, large = (np.asarray(draw(jax.random.key(0), n)) for n in [(3, 128), (5, 200)])
    >>> bool((small == large[:3, :128]).all())
    True

    Source: the integer hash ``lowbias32`` (C. Wellons, hash-prospector, 2018), a finalizer like
    MurmurHash3's with less bias; the second word of a row enters between its two rounds.
    """
    num_rows, num_columns = shape
    seed, other_seed = jax.random.bits(key, (2,), jnp.uint32)
    row = jnp.arange(num_rows, dtype=jnp.uint32)[:, None]
    row_word = _mix(_mix(row ^ seed) ^ other_seed)
    other_row_word = _mix(_mix(row + other_seed) + seed)
    column_word = _mix(np.arange(1, num_columns + 1, dtype=np.uint32))[None, :]
    word = (row_word ^ column_word) * _FIRST_FACTOR
    word = ((word ^ (word >> 15)) + other_row_word) * _SECOND_FACTOR
    word = word ^ (word >> 16)
    # Through int32, which CPUs convert to float32 in one instruction; uint32 takes several.
    return (word >> 8).astype(jnp.int32).astype(jnp.float32) * np.float32(2**-24)


def _mix(word: _Words) -> _Words:
    """Hashes uint32 words by a permutation in which each bit affects all others."""
    word = (word ^ (word >> 16)) * _FIRST_FACTOR
    word = (word ^ (word >> 15)) * _SECOND_FACTOR
    return word ^ (word >> 16)
