"""Packing against one big integer."""

import numpy as np
import pytest

from fedjax_diffusion.quantization.wire.packing import (
    code_dtype,
    pack_codes,
    unpack_codes,
    word_dtype,
)
from tests.each import check_each

NUM_ROWS = 3


def draw(bit_width, dtype, seed=0):
    codes = np.random.default_rng(seed).integers(0, 2**bit_width, (NUM_ROWS, 128)).astype(dtype)
    codes[0, :2] = 0, 2**bit_width - 1
    return codes


def to_bytes(words):
    return words.astype(words.dtype.newbyteorder("<")).tobytes()


def test_a_row_is_one_number_of_which_code_i_takes_the_bits_from_bit_width_times_i():
    def check(bit_width):
        codes = draw(bit_width, code_dtype(bit_width))
        words = np.asarray(pack_codes(codes, bit_width))
        assert words.dtype == word_dtype(bit_width)
        assert words.shape == (NUM_ROWS, 128 * bit_width // (8 * words.dtype.itemsize))
        for row, code in zip(words, codes, strict=True):
            number = sum(int(c) << (bit_width * i) for i, c in enumerate(code))
            assert to_bytes(row) == number.to_bytes(16 * bit_width, "little")
        unpacked = np.asarray(unpack_codes(words, bit_width))
        assert unpacked.dtype == code_dtype(bit_width)
        np.testing.assert_array_equal(unpacked, codes)

    check_each(range(1, 17), check)


@pytest.mark.parametrize("bit_width", [1, 3, 7, 8])
def test_a_wider_code_type_packs_the_same(bit_width):
    """A message whose largest bit width is above 8 draws all of its codes as uint16."""
    codes = draw(bit_width, np.uint16)
    expected = pack_codes(codes.astype(np.uint8), bit_width)
    np.testing.assert_array_equal(pack_codes(codes, bit_width), expected)


@pytest.mark.parametrize("bit_width", [1, 5, 8, 13, 16])
def test_no_rows(bit_width):
    words = pack_codes(draw(bit_width, code_dtype(bit_width))[:0], bit_width)
    assert words.size == 0
    assert unpack_codes(words, bit_width).shape == (0, 128)
