"""Data sets by name: 8-bit images and their labels, on the host.

``"digits"`` is embedded in scikit-learn and needs no files. ``"folder"`` and ``"npz"`` are own
pictures. Every other name is read from a folder that TensorFlow Datasets (TFDS) has prepared,
without TensorFlow and without a network. Nothing is ever downloaded, and a missing data set is
never replaced by another.
"""

import dataclasses
import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fedjax_diffusion.data.dataset import ImageDataset, choose_examples
from fedjax_diffusion.data.image_cache import (
    entry_name,
    fingerprint_files,
    load_or_make,
    make_in_memory,
)
from fedjax_diffusion.data.own.folder import load_folder
from fedjax_diffusion.data.own.npz import load_npz
from fedjax_diffusion.data.own.square import Fit, Side, Square
from fedjax_diffusion.data.tfds.examples import Columns, Label, choose_columns, choose_label, decode
from fedjax_diffusion.data.tfds.folder import Piece, TfdsFolder, open_folder, unreadable
from fedjax_diffusion.values import Name, PathText, check_fields

_READER_VERSION = 2
"""To be incremented when the same files shall give other arrays."""


DataDir: TypeAlias = str | os.PathLike[str] | None
Loader: TypeAlias = Callable[[str, str, DataDir], ImageDataset]
"""``loader(name, split, data_dir) -> ImageDataset``."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data set of a run; ``load_images`` checks and loads it.

    Attributes:
      name: ``digits`` (included), ``folder`` or ``npz`` (own pictures), or a TFDS name: cifar10.
      split: part of the data set: train, test, train[:512], ...
      data_dir: the folder or file of own pictures, or the folder of prepared TFDS data sets; None:
        TFDS's default one.
      size: side in pixels of the squares that are made of own pictures; None: they stay as they
        are.
      fit: ``"crop"`` or ``"pad"``, to make squares of own pictures.

    Raises:
      ValueError: a value is out of range.
    """

    name: Name
    split: Name
    data_dir: PathText | None
    size: Side | None = None
    fit: Fit = "crop"

    def __post_init__(self):
        check_fields(self, "data")


def load_images(
    name: str,
    split: str,
    *,
    data_dir: DataDir = None,
    size: int | None = None,
    fit: str = "crop",
    verify: bool = False,
) -> ImageDataset:
    """Returns one split of a data set.

    Args:
      name: ``"folder"`` or ``"npz"`` for own pictures; a key of ``LOADERS``; or the TFDS name of a
        data set with one image in an example and at most one class label: ``"cifar10"``,
        ``"cifar10:3.0.2"``, ``"emnist/digits"``. A ``#`` and a name choose one of several labels or
        a yes-or-no attribute: ``"cifar100#coarse_label"``, ``"celeb_a#Smiling"``. If the data set
        has no label, all labels are 0.
      split: ``"train"``, ``"test"`` or ``"all"``; for TFDS any of its own, also ``"train[:512]"``,
        ``"train[10%:20%]"`` and ``"train+test"``.
      data_dir: the folder, or .npz file, of own pictures: see ``load_folder`` and ``load_npz``; or
        the folder of the prepared TFDS data sets, None: ``$TFDS_DATA_DIR``, or else
        ``~/tensorflow_datasets``. None for embedded data sets.
      size: side in pixels of the squares that are made of own pictures; None: they stay as they
        are, and must have one size.
      fit: ``"crop"`` makes squares of the centre of own pictures, ``"pad"`` of the whole, between
        black bars.
      verify: compare the contents of the files with those that were decoded earlier, and the
        checksums of decoded arrays of any size.

    Returns:
      The images, which may be mapped from a file and are then read-only.

    Raises:
      ValueError: there is no such data set or split, it is not prepared in ``data_dir``, it is
        damaged, cannot be read, or its images are not 8-bit images of one size. One line that names
        the folder, the split, and if useful the command that prepares the data.

    >>> load_images("digits", "train").images.shape
    (1497, 8, 8, 1)
    """
    square = Square(size, fit)
    if name in OWN_LOADERS:
        if data_dir is None:
            raise ValueError(
                f"data.data_dir must name the pictures of data.name={name}: a folder, or an .npz "
                "file for npz"
            )
        path = Path(data_dir).expanduser()
        return OWN_LOADERS[name](path, split, square, name=name, verify=verify)
    if square != Square():
        raise ValueError(
            f"data.size and data.fit are for data.name={' or '.join(OWN_LOADERS)}, not for {name!r}"
        )
    if name in LOADERS:
        loaded = LOADERS[name](name, split, data_dir)
        if not isinstance(loaded, ImageDataset):
            got = type(loaded).__name__
            raise ValueError(f"data.name={name}: its loader must return an ImageDataset, got {got}")
        return loaded
    return load_tfds(name, split, data_dir, verify=verify)


def load_digits(name: str, split: str, data_dir: DataDir = None) -> ImageDataset:
    """Returns the 1,797 real handwritten 8x8 digits of scikit-learn, 0..16 scaled to 0..255.

    Every sixth example (0, 6, 12, ...) is a test example: 300 test and 1,497 training examples.
    ``"all"`` keeps the order.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998 (its test part).
    """
    if data_dir is not None:
        raise ValueError(
            f"data set {name!r} is built in and reads nothing from data.data_dir="
            f"{str(data_dir)!r}: leave it out, or set data.name=folder for own pictures"
        )
    grey_values, labels = _read_digits()
    chosen = choose_examples(name, split, len(labels))
    images = np.rint(grey_values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    class_names = tuple(map(str, range(10)))
    return ImageDataset(images[chosen], labels[chosen].astype(np.int32), 10, name, class_names)


@functools.cache
def _read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns grey values [1797, 64] and labels [1797]; they are read once and never written to.

    They are read directly from scikit-learn's file if it is at the expected place: importing the
    package would delay the start of a run by a second.
    """
    spec = importlib.util.find_spec("sklearn")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            table = np.loadtxt(path, delimiter=",", dtype=np.float64)
            return table[:, :-1], table[:, -1].astype(int)
    import sklearn.datasets

    digits: Any = sklearn.datasets.load_digits()
    return digits.data, digits.target


def load_tfds(
    name: str, split: str, data_dir: DataDir = None, *, verify: bool = False
) -> ImageDataset:
    """Returns a split of a data set that TFDS has prepared as ArrayRecord or TFRecord files.

    Each split is decoded once, with all possible labels, and stored in the user's cache folder,
    from where it is mapped into memory: see ``image_cache``.

    Args:
      name: see ``load_images``.
      split: see ``load_images``.
      data_dir: see ``load_images``.
      verify: see ``load_images``.

    Raises:
      ValueError: see ``load_images``.

    Guarantees:
      The same files give the same images in the same order, in both formats, cached or not.
    """
    asked = data_dir or os.environ.get("TFDS_DATA_DIR") or os.path.join("~", "tensorflow_datasets")
    tfds_name, _, asked_label = name.partition("#")
    path = Path(asked).expanduser()
    try:
        folder = open_folder(tfds_name, path)
        columns, label = choose_columns(folder), choose_label(folder, asked_label)
        wanted = folder.find_pieces(split)
        pieces = [_load_piece(folder, columns, label, piece, verify) for piece in wanted]
    except OSError as error:
        raise unreadable(tfds_name, path, split, error) from error
    images, labels = (
        arrays[0] if len(arrays) == 1 else _join(folder, split, arrays)
        for arrays in zip(*pieces, strict=True)
    )
    names = label.class_names
    return ImageDataset(images, labels, len(names), name, names, folder.version)


def _load_piece(
    folder: TfdsFolder, columns: Columns, label: Label, piece: Piece, verify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels int32 [N] of a piece, from the cache of its whole split."""
    whole = Piece(piece.split, 0, folder.num_examples(piece.split))
    reader = {"reader": _READER_VERSION, "version": folder.version, "columns": columns}
    title = "-".join([*folder.path.relative_to(folder.data_dir).parts, piece.split])
    identity = {"path": str(folder.path.resolve()), "split": piece.split}
    kept = load_or_make(
        entry_name(title, identity),
        fingerprint_files(folder.source_files(piece.split), reader),
        lambda: folder.hash_source(piece.split),
        lambda make_arrays: decode(folder, columns, whole, make_arrays),
        verify=verify,
    )
    if kept is None:
        images, labels = decode(folder, columns, piece, make_in_memory)
    else:
        images, labels = (array[piece.start : piece.stop] for array in kept)
    return images, _take_label(folder, columns, label, piece, labels)


def _take_label(
    folder: TfdsFolder, columns: Columns, label: Label, piece: Piece, labels: np.ndarray
) -> np.ndarray:
    """Returns int32 [N], one column of labels int64 [N, F]; checks that they are classes."""
    if not label.feature:
        return np.zeros(len(labels), np.int32)
    values = labels[:, columns.labels.index(label.feature)]
    last = len(label.class_names) - 1
    wrong = np.flatnonzero((values < 0) | (values > last))
    if wrong.size:
        raise folder.refusal(
            piece.split,
            f"label {values[wrong[0]]} of example {piece.start + wrong[0]} must lie in 0..{last}",
        )
    return values.astype(np.int32)


def _join(folder: TfdsFolder, split: str, arrays: Sequence[np.ndarray]) -> np.ndarray:
    shapes = sorted({array.shape[1:] for array in arrays})
    if len(shapes) > 1:
        raise ValueError(f"split {split!r} of {folder} must have images of one size, got {shapes}")
    return np.concatenate(arrays)


OWN_LOADERS: dict[str, Callable[..., ImageDataset]] = {"folder": load_folder, "npz": load_npz}
"""Loaders of own pictures, by name."""

LOADERS: dict[str, Loader] = {"digits": load_digits}
"""Loaders of embedded data sets, and of those that Python code adds, by name."""
