"""A folder of pictures as a data set: its sub-folders are classes, or splits, or there are none."""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from fedjax_diffusion.data.dataset import ImageDataset, choose_examples
from fedjax_diffusion.data.image_cache import Arrays, MakeArrays
from fedjax_diffusion.data.own.entry import check_size, load_entry
from fedjax_diffusion.data.own.square import Square
from fedjax_diffusion.host.image_files import open_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of the files that are pictures, in small letters."""
SPLIT_NAMES = {"train", "test", "val", "valid", "validation"}
"""Sub-folders that are splits, if there is ``train`` and all of them are named so."""

_ENDINGS = ", ".join(SUFFIXES)
_LOG = logging.getLogger(__name__)
_FORMATS = ("PNG", "JPEG", "WEBP")
_TURNED = ("JPEG", "MPO", "WEBP")
"""Formats of cameras, which note how the picture is to be turned; MPO is JPEG with further ones."""
_SIDEWAYS = (5, 6, 7, 8)
"""Values of that note at which width and height change places."""
_ORIENTATION = 0x0112
_GREY_MODES = ("1", "L", "LA", "La")


class _Header(NamedTuple):
    size: tuple[int, int]
    is_grey: bool


def load_folder(
    folder: Path, split: str, square: Square, *, name: str = "folder", verify: bool = False
) -> ImageDataset:
    """Returns one split of a folder of PNG, JPEG and WebP files.

    Pictures are in the order of their paths. Sub-folders are classes, also of all that lies in
    them; without sub-folders all labels are 0. If the sub-folders are ``train`` and for example
    ``test``, each is a split and may hold classes; otherwise every sixth picture is ``"test"``.
    If all pictures are grey, so are the images, otherwise they have three channels. Transparent
    parts become white; pictures of cameras are turned upright. Other files are left out, and named
    in one line of the log.

    Args:
      folder: of the pictures.
      split: ``"train"``, ``"test"`` or ``"all"``, or a sub-folder that is a split.
      square: squares that are made of the pictures.
      name: of the data set.
      verify: see ``load_images``.

    Raises:
      ValueError: no such folder or split, no picture, a damaged one, pictures beside sub-folders,
        or pictures of several sizes without a size of the square.
    """
    pictures = _list_pictures(folder)
    inner = [path.relative_to(folder).parts for path in pictures]
    chosen, has_splits = _choose(folder, name, split, inner)
    classes = [parts[has_splits:-1][:1] for parts in inner]
    if () in classes and len(set(classes)) > 1:
        loose = pictures[classes.index(())]
        raise ValueError(
            f"{str(folder)!r} must hold either pictures or sub-folders, one a class: move "
            f"{loose.name!r} into one of them"
        )
    names = ["".join(parts) or "all" for parts in classes]
    class_names = tuple(sorted(set(names)))
    numbers = {class_name: number for number, class_name in enumerate(class_names)}
    labels = np.array([numbers[class_name] for class_name in names])[chosen]
    paths = [pictures[i] for i in chosen]

    def decode(make_arrays: MakeArrays) -> Arrays:
        return _decode(folder, pictures, paths, labels, square, make_arrays)

    # Whether images are grey depends on all pictures, so the entry of each split does.
    images, kept = load_entry(folder, split, pictures, vars(square), decode, verify=verify)
    return ImageDataset(images, kept[:, 0].astype(np.int32), len(class_names), name, class_names)


def _list_pictures(folder: Path) -> list[Path]:
    """Returns the pictures of a folder in order; names the other files in one line of the log."""
    if not folder.is_dir():
        raise ValueError(f"data.data_dir must be a folder of pictures, {str(folder)!r} is none")
    pictures, others = [], []

    def refuse(error: OSError) -> None:
        raise ValueError(f"{error.filename!r} cannot be read ({error.strerror}): permit reading")

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        others += [Path(place, name) for name in folders if Path(place, name).is_symlink()]
        for path in (Path(place, name) for name in files if not name.startswith(".")):
            (pictures if path.suffix.lower() in SUFFIXES else others).append(path)
    if not pictures:
        raise ValueError(f"{str(folder)!r} holds no pictures, files that end with {_ENDINGS}")
    if others:
        first = min(others).relative_to(folder).as_posix()
        _LOG.warning(
            "%s: left out %d entries that are no %s files, such as %r",
            *(folder, len(others), _ENDINGS, first),
        )
    return sorted(pictures, key=lambda path: path.relative_to(folder).parts)


def _choose(
    folder: Path, name: str, split: str, inner: Sequence[tuple[str, ...]]
) -> tuple[np.ndarray, bool]:
    """Returns the numbers of a split's pictures, and whether the sub-folders are the splits."""
    heads = {parts[0] if len(parts) > 1 else "" for parts in inner}
    has_splits = "train" in heads and heads <= SPLIT_NAMES
    if not has_splits or split == "all":
        is_chosen = choose_examples(name, split, len(inner))
    elif split in heads:
        is_chosen = np.array([parts[0] == split for parts in inner])
    else:
        known = ", ".join(sorted({*heads, "all"}))
        raise ValueError(f"{str(folder)!r} has no split {split!r}: use one of {known}")
    if not is_chosen.any():
        raise ValueError(
            f"split {split!r} of {str(folder)!r} has no pictures: give it more of them"
        )
    return np.flatnonzero(is_chosen), has_splits


def _decode(
    folder: Path,
    pictures: Sequence[Path],
    paths: Sequence[Path],
    labels: np.ndarray,
    square: Square,
    make_arrays: MakeArrays,
) -> Arrays:
    """Returns images and labels of the paths; the headers of all pictures are read first."""
    headers = [_read_header(path) for path in _track(pictures, "looking at pictures")]
    width, height = headers[0].size
    for path, header in zip(pictures, headers, strict=True):
        if square.side is None and header.size != (width, height):
            raise ValueError(
                f"pictures of {str(folder)!r} must have one size: {pictures[0].name!r} is "
                f"{width}x{height}, {path.name!r} is {header.size[0]}x{header.size[1]}; set "
                "data.size, e.g. data.size=32, to make squares of them"
            )
    if square.side is not None:
        width = height = square.side
    is_grey = all(header.is_grey for header in headers)
    shape = (len(paths), height, width, 1 if is_grey else 3)
    check_size(folder, shape)
    images, columns = make_arrays(shape, 1)
    columns[:, 0] = labels
    for image, path in zip(images, _track(paths, "decoding pictures"), strict=True):
        image[...] = _read_pixels(path, is_grey, square).reshape(image.shape)
    return images, columns


def _read_header(path: Path) -> _Header:
    """Returns the upright size of a picture, of which no pixel is decoded."""
    with _open(path) as image:
        width, height = image.size
        if image.format in _TURNED and image.getexif().get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
        return _Header((width, height), image.mode in _GREY_MODES)


def _read_pixels(path: Path, is_grey: bool, square: Square) -> np.ndarray:
    """Returns the pixels of a picture, uint8 [H, W] or [H, W, 3]."""
    with _open(path) as image:
        upright = ImageOps.exif_transpose(image) if image.format in _TURNED else image
        if upright.has_transparency_data:
            white = Image.new("RGBA", upright.size, "white")
            white.alpha_composite(upright.convert("RGBA"))
            upright = white
        return np.asarray(square.cut(upright.convert("L" if is_grey else "RGB")))


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """Yields a picture; an error names its path."""
    try:
        with open_image(path, _FORMATS) as image:
            yield image
    except ValueError as error:
        raise ValueError(
            f"picture {str(path)!r} cannot be used: {error}; replace it or take it away"
        ) from error


def _track(paths: Sequence[Path], label: str) -> Iterable[Path]:
    """Yields the paths, with a progress bar on a terminal."""
    return tqdm(paths, desc=label, unit=" images", leave=False, disable=None)
