"""PNG files of image grids and of single images."""

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fedjax_diffusion.host.atomic import write_bytes
from fedjax_diffusion.host.outputs import SOFTWARE


def images_to_grid(images: np.ndarray, padding: int = 1) -> np.ndarray:
    """Arranges images in a near-square grid.

    Args:
      images: uint8 [N, H, W, C], N >= 1, C 1 or 3.
      padding: pixels between images.

    Returns:
      uint8 [rows (H + padding) + padding, columns (W + padding) + padding, C]; empty cells and
      the padding are mid-gray.
    """
    num_images, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(num_images))
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


def save_images(folder: Path, images: np.ndarray) -> None:
    """Saves uint8 [N, H, W, C] images in their own size as ``folder/00000.png`` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        _save(_to_picture(image), folder / f"{i:05d}.png")


def _to_picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _save(picture: Image.Image, path: Path) -> None:
    content = io.BytesIO()
    made_by = PngInfo()
    made_by.add_text("Software", SOFTWARE)
    picture.save(content, format="PNG", pnginfo=made_by)
    write_bytes(path, content.getvalue())
