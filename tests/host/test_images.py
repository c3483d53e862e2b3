"""Pictures: every pixel of every image stands where the grid says."""

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion.host.images import append_to_strip, images_to_grid, save_grid

GRAY = 128


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("num_images", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (5, 2, 3), (9, 3, 3)]
)
def test_a_grid_holds_the_images_row_by_row(num_images, rows, columns, channels):
    rng = np.random.default_rng(num_images)
    images = rng.integers(0, 256, (num_images, 4, 3, channels), dtype=np.uint8)
    grid = images_to_grid(images, padding=2)
    assert grid.shape == (rows * 6 + 2, columns * 5 + 2, channels)
    assert grid.dtype == np.uint8
    is_image = np.zeros(grid.shape, bool)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        cell = np.s_[row * 6 + 2 : row * 6 + 6, column * 5 + 2 : column * 5 + 5]
        np.testing.assert_array_equal(grid[cell], image)
        is_image[cell] = True
    assert (grid[~is_image] == GRAY).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("smallest_side", [1, 40])
def test_a_saved_grid_reads_back_enlarged_pixel_by_pixel(tmp_path, channels, smallest_side):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 4, 4, channels), dtype=np.uint8)
    path = tmp_path / "new folder" / "grid.png"
    save_grid(path, images, smallest_side)
    grid = images_to_grid(images)
    scale = max(1, round(smallest_side / 11))
    read = np.asarray(Image.open(path)).reshape(11 * scale, 11 * scale, channels)
    np.testing.assert_array_equal(read, grid.repeat(scale, axis=0).repeat(scale, axis=1))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_strip_keeps_its_earlier_rows_and_replaces_the_others(tmp_path, channels):
    rng = np.random.default_rng(0)
    path = tmp_path / "new folder" / "strip.png"
    rows = {n: rng.integers(0, 256, (5, 4, 4, channels), dtype=np.uint8) for n in (10, 20, 30, 20)}
    for number in (10, 20, 30, 20):
        append_to_strip(path, rows[number], number)
    grids = [images_to_grid(rows[number], columns=5) for number in (10, 20)]
    scale = round(512 / 26)
    expected = np.concatenate(grids).repeat(scale, axis=0).repeat(scale, axis=1)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture).reshape(expected.shape), expected)
        assert picture.info["Rows"] == "10 20"


@pytest.mark.parametrize("damage", ["no picture", "grid", "other shape"])
def test_a_file_that_is_no_such_strip_is_replaced(tmp_path, damage):
    images = np.zeros((3, 4, 4, 1), np.uint8)
    path = tmp_path / "strip.png"
    if damage == "no picture":
        path.write_text("no picture")
    elif damage == "grid":
        save_grid(path, images)
    else:
        append_to_strip(path, np.zeros((3, 6, 6, 1), np.uint8), 10)
    append_to_strip(path, images, 20)
    with Image.open(path) as picture:
        assert picture.info["Rows"] == "20"
