"""A NumPy file as a data set: an array of images, and one of labels if there are any."""

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fedjax_diffusion.data.dataset import ImageDataset, choose_examples
from fedjax_diffusion.data.image_cache import Arrays, MakeArrays
from fedjax_diffusion.data.own.entry import check_size, load_entry
from fedjax_diffusion.data.own.square import Square
from fedjax_diffusion.host.image_files import MAX_PIXELS

MAX_CLASSES = 1 << 16
_READ_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_ERRORS = (
    *(ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError),
    *(NotImplementedError, MemoryError, SyntaxError, TypeError),
)
"""Of a file that is damaged, encrypted, or no zip file."""
_ADVICE = "write it with numpy.savez(file, images=..., labels=...)"


def load_npz(
    path: Path, split: str, square: Square, *, name: str = "npz", verify: bool = False
) -> ImageDataset:
    """Returns one split of a NumPy file, as ``numpy.savez`` writes it.

    It holds ``images``, uint8 [N, H, W, C] with C = 1 or 3, or [N, H, W], and may hold ``labels``,
    integers [N] from 0 on. Every sixth image is ``"test"``. Its arrays' types and shapes are looked
    at before the pixels are read; pickled objects are never read.

    Args:
      path: of the file.
      split: ``"train"``, ``"test"`` or ``"all"``.
      square: squares that are made of the images.
      name: of the data set.
      verify: see ``load_images``.

    Raises:
      ValueError: no such file or split, or it does not hold such arrays.
    """
    if not path.is_file():
        raise ValueError(f"data.data_dir must be an .npz file, {str(path)!r} is none: {_ADVICE}")
    with _explain(path), zipfile.ZipFile(path) as file:
        shape = _check_images(*_read_header(file, "images"))
        labels = np.zeros(shape[0], np.int64)
        if "labels.npy" in file.namelist():
            _check_labels(*_read_header(file, "labels"), shape[0])
            labels = _read(path, "labels")
        if labels.size and not 0 <= labels.min() <= labels.max() < MAX_CLASSES:
            raise ValueError(
                f"labels must lie in 0..{MAX_CLASSES - 1}, got {labels.min()}..{labels.max()}"
            )
    check_size(path, shape, advice="split the file")
    chosen = np.flatnonzero(choose_examples(name, split, shape[0]))
    if not chosen.size:
        raise ValueError(f"split {split!r} of {str(path)!r} has no images: give it more of them")

    def decode(make_arrays: MakeArrays) -> Arrays:
        side = shape[1:3] if square.side is None else (square.side, square.side)
        check_size(path, (len(chosen), *side, shape[3]))
        with _explain(path):
            given = _read(path, "images").reshape(shape)
        images, columns = make_arrays((len(chosen), *side, shape[3]), 1)
        columns[:, 0] = labels[chosen]
        for image, number in zip(images, chosen, strict=True):
            pixels = given[number].squeeze(-1) if shape[3] == 1 else given[number]
            image[...] = np.asarray(square.cut(Image.fromarray(pixels))).reshape(image.shape)
        return images, columns

    images, kept = load_entry(path, split, [path], vars(square), decode, verify=verify)
    return ImageDataset(images, kept[:, 0].astype(np.int32), int(labels.max()) + 1, name)


def _read_header(file: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Returns shape and type of an array, which its bytes in the file must fill exactly."""
    if f"{name}.npy" not in file.namelist():
        held = ", ".join(entry.removesuffix(".npy") for entry in file.namelist()[:9])
        raise ValueError(f"it must hold {name!r}, it holds {held or 'nothing'}")
    with file.open(f"{name}.npy") as array:
        version = np.lib.format.read_magic(array)
        if version not in _READ_HEADERS:
            raise ValueError(f"{name} is stored in the unknown form {version}")
        shape, _, dtype = _READ_HEADERS[version](array)
        size = array.tell() + math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and size != file.getinfo(f"{name}.npy").file_size:
        raise ValueError(f"{name} must have as many bytes as its shape {list(shape)} says")
    return shape, dtype


def _check_images(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, int, int, int]:
    """Returns the shape [N, H, W, C] of images."""
    full = (*shape, 1) if len(shape) == 3 else shape
    is_right = dtype == np.uint8 and len(full) == 4 and full[3] in (1, 3) and min(full) > 0
    if not is_right or full[1] * full[2] > MAX_PIXELS:
        raise ValueError(
            f"images must be uint8 [N, H, W, C] with C = 1 or 3, got {dtype} {list(shape)}"
        )
    number, height, width, channels = full
    return number, height, width, channels


def _check_labels(shape: tuple[int, ...], dtype: np.dtype[Any], number: int) -> None:
    if dtype.kind not in "iu" or shape != (number,):
        raise ValueError(f"labels must be integers [{number}], got {dtype} {list(shape)}")


def _read(path: Path, name: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as file:
        return file[name]


@contextlib.contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Turns all errors of a damaged or unsuitable file into one line that names it."""
    try:
        yield
    except _ERRORS as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{str(path)!r} cannot be used: {reason}; {_ADVICE}") from error
