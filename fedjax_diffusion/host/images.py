"""PNG files of image grids and of single images."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fedjax_diffusion.host.atomic import write_bytes
from fedjax_diffusion.host.image_files import open_image
from fedjax_diffusion.host.outputs import SOFTWARE

_STRIP_WIDTH = 512
"""Least width of a strip, about, in pixels; small images are enlarged unsmoothed."""
_ROWS = "Rows"
"""Text in the PNG of a strip: the numbers of its rows."""


def images_to_grid(images: np.ndarray, padding: int = 1, columns: int | None = None) -> np.ndarray:
    """Arranges images in a grid.

    Args:
      images: uint8 [N, H, W, C], N >= 1, C 1 or 3.
      padding: pixels between images.
      columns: number of images in a row; None: the grid is near-square.

    Returns:
      uint8 [rows (H + padding) + padding, columns (W + padding) + padding, C]; empty cells and
      the padding are mid-gray.
    """
    num_images, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(num_images))
    rows = math.ceil(num_images / columns)
    step_y, step_x = height + padding, width + padding
    shape = (rows * step_y + padding, columns * step_x + padding, channels)
    grid = np.full(shape, 128, np.uint8)
    for i, image in enumerate(images):
        y, x = (i // columns) * step_y + padding, (i % columns) * step_x + padding
        grid[y : y + height, x : x + width] = image
    return grid


def save_grid(path: Path, images: np.ndarray, smallest_side: int = 512) -> None:
    """Saves a grid of uint8 [N, H, W, C] images as PNG; small grids are enlarged unsmoothed."""
    grid = images_to_grid(images)
    scale = max(1, round(smallest_side / min(grid.shape[:2])))
    picture = _to_picture(grid)
    size = (picture.width * scale, picture.height * scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(picture.resize(size, Image.Resampling.NEAREST), path)


def append_to_strip(path: Path, images: np.ndarray, number: int) -> None:
    """Appends a row of images to a PNG whose rows are drawn one after the other.

    Rows with this number or a later one are replaced, as a run that was interrupted draws them
    again. A file that is no such strip is replaced, too.

    Args:
      path: of the strip, made if needed.
      images: uint8 [N, H, W, C], N >= 1; each row has the same shape.
      number: of the row, e.g. rounds; larger than those of the rows before it.
    """
    row = images_to_grid(images, columns=len(images))
    scale = max(1, round(_STRIP_WIDTH / row.shape[1]))
    row = row.repeat(scale, 0).repeat(scale, 1)
    numbers, rows = _read_strip(path, row.shape)
    kept = [pair for pair in zip(numbers, rows, strict=True) if pair[0] < number]
    kept.append((number, row))
    path.parent.mkdir(parents=True, exist_ok=True)
    text = " ".join(str(number) for number, _ in kept)
    _save(_to_picture(np.concatenate([row for _, row in kept])), path, {_ROWS: text})


def read_rows(path: Path) -> list[int]:
    """Returns the numbers of the rows of a strip.

    Raises:
      ValueError: the file is no strip, or it is damaged.
    """
    with open_image(path, ("PNG",)) as picture:
        picture.load()
        return [int(word) for word in picture.info[_ROWS].split()]


def _read_strip(path: Path, shape: tuple[int, ...]) -> tuple[list[int], list[np.ndarray]]:
    """Returns numbers and rows of a strip whose rows have this shape; none of another file."""
    try:
        numbers = read_rows(path)
        with open_image(path, ("PNG",)) as picture:
            return numbers, list(np.asarray(picture).reshape(len(numbers), *shape))
    except ValueError:
        return [], []


def save_images(folder: Path, images: np.ndarray) -> None:
    """Saves uint8 [N, H, W, C] images in their own size as ``folder/00000.png`` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        _save(_to_picture(image), folder / f"{i:05d}.png")


def _to_picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _save(
    picture: Image.Image, path: Path, texts: Mapping[str, str] = MappingProxyType({})
) -> None:
    content = io.BytesIO()
    info = PngInfo()
    for name, text in {"Software": SOFTWARE, **texts}.items():
        info.add_text(name, text)
    picture.save(content, format="PNG", pnginfo=info)
    write_bytes(path, content.getvalue())
