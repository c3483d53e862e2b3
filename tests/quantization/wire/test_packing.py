"""Packing against one big integer."""

import numpy as np
import pytest

from fedjax_diffusion.quantization.wire.packing import (
    code_dtype,
    pack_codes,
    unpack_codes,
    word_dtype,
)

NUM_ROWS = 3


def draw(level, dtype, seed=0):
    codes = np.random.default_rng(seed).integers(0, 2**level, (NUM_ROWS, 128)).astype(dtype)
    codes[0, :2] = 0, 2**level - 1
    return codes


def to_bytes(words):
    return words.astype(words.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize("level", range(1, 17))
def test_a_row_is_one_number_of_which_code_i_takes_the_bits_from_level_times_i(level):
    codes = draw(level, code_dtype(level))
    words = np.asarray(pack_codes(codes, level))
    assert words.dtype == word_dtype(level)
    assert words.shape == (NUM_ROWS, 128 * level // (8 * words.dtype.itemsize))
    for row, code in zip(words, codes, strict=True):
        number = sum(int(c) << (level * i) for i, c in enumerate(code))
        assert to_bytes(row) == number.to_bytes(16 * level, "little")
    unpacked = np.asarray(unpack_codes(words, level))
    assert unpacked.dtype == code_dtype(level)
    np.testing.assert_array_equal(unpacked, codes)


@pytest.mark.parametrize("level", [1, 3, 7, 8])
def test_a_wider_code_type_packs_the_same(level):
    """A message whose largest level is above 8 draws all of its codes as uint16."""
    codes = draw(level, np.uint16)
    expected = pack_codes(codes.astype(np.uint8), level)
    np.testing.assert_array_equal(pack_codes(codes, level), expected)


@pytest.mark.parametrize("level", [1, 5, 8, 13, 16])
def test_no_rows(level):
    words = pack_codes(draw(level, code_dtype(level))[:0], level)
    assert words.size == 0
    assert unpack_codes(words, level).shape == (0, 128)
