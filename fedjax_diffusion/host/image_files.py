"""Image files of others: what they claim to be is looked at before they are decoded."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

MAX_PIXELS = 1 << 26
"""Of one image; larger ones are refused by their header."""
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
"""Formats that are decoded: none but PNG can have more than 8 bits in a channel."""
_PNG_START = b"\x89PNG\r\n\x1a\n"
_DEPTH_OFFSET = 24
"""Of the bits per channel, in the first chunk of a PNG."""


@contextlib.contextmanager
def open_image(source: Path | bytes, formats: tuple[str, ...] = _FORMATS) -> Iterator[Image.Image]:
    """Yields an image whose pixels are not decoded yet; all errors of the block have one kind.

    Args:
      source: the path of a regular file, or the bytes of one.
      formats: Pillow's names of the formats that are allowed.

    Raises:
      ValueError: it is no regular file, no image of these formats or a damaged one, or it has more
        than 8 bits per channel or more than ``MAX_PIXELS``.
    """
    try:
        if isinstance(source, Path) and not source.is_file():
            raise ValueError("it is not a regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            with Image.open(file, formats=formats) as image:
                _check_header(image, source)
                yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"it must have at most {MAX_PIXELS} pixels") from error
    except (OSError, SyntaxError, EOFError, KeyError, TypeError, MemoryError) as error:
        raise ValueError(f"it cannot be read: {error}") from error


def _check_header(image: Image.Image, source: Path | bytes) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it must have at most {MAX_PIXELS} pixels, its size is {image.size}")
    is_deep = image.mode.startswith(("I", "F"))
    if image.format == "PNG":  # Pillow cuts 16 bits per color to 8
        start = source[: _DEPTH_OFFSET + 1] if isinstance(source, bytes) else _read_start(source)
        is_deep = is_deep or not start.startswith(_PNG_START) or start[_DEPTH_OFFSET] > 8
    if is_deep:
        raise ValueError(f"it must have 8 bits per channel, its mode is {image.mode}")


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_DEPTH_OFFSET + 1)
