"""Squares of pictures: the middle or the whole, of the size that was asked for."""

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion.data.own.square import Square


def make_picture(width, height):
    """Returns a picture whose columns have the grey values 0, 10, 20, ..."""
    return Image.fromarray(np.tile(10 * np.arange(width, dtype=np.uint8), (height, 1)))


def test_crop_keeps_the_middle():
    cut = np.asarray(Square(4).cut(make_picture(8, 4)))
    np.testing.assert_array_equal(cut, np.tile([20, 30, 40, 50], (4, 1)))


def test_pad_keeps_the_whole_between_black_bars():
    white = Image.new("RGB", (8, 4), "white")
    padded = np.asarray(Square(4, "pad").cut(white))
    assert padded.shape == (4, 4, 3)
    np.testing.assert_array_equal(padded[:, :, 0].max(axis=1), [0, 255, 255, 0])
    assert Square(4, "pad").cut(Image.new("L", (1, 1000))).size == (4, 4)


def test_scaling_down_averages_what_is_left_out():
    stripes = Image.fromarray(np.tile(np.array([0, 200], np.uint8), (64, 32)))
    assert abs(np.asarray(Square(4).cut(stripes)).astype(int) - 100).max() <= 10


def test_a_picture_of_that_size_stays_as_it_is():
    for square in (Square(), Square(4), Square(4, "pad")):
        picture = make_picture(4, 4)
        np.testing.assert_array_equal(square.cut(picture), picture)
    assert Square().cut(make_picture(8, 4)).size == (8, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), r"^data.size must be a whole number in 1..8192 or None, got 0"),
        ((8193,), r"^data.size must be a whole number in 1..8192 or None, got 8193"),
        ((None, "pad"), r"^data.fit=pad needs data.size"),
        ((4, "stretch"), r"^data.fit must be one of crop, pad, got 'stretch'"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Square(*arguments)
