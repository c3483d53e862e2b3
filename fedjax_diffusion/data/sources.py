"""Data sets by name: 8-bit images and their labels, on the host.

``"digits"`` is embedded in scikit-learn and needs no files. Every other name is read from a folder
that TensorFlow Datasets (TFDS) has prepared, without TensorFlow and without a network. Nothing is
ever downloaded, and a missing data set is never replaced by another.
"""

import dataclasses
import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fedjax_diffusion.data.image_cache import (
    Arrays,
    checksum,
    entry_name,
    fingerprint_files,
    load_or_make,
)
from fedjax_diffusion.data.tfds.examples import Columns, Label, choose_columns, choose_label, decode
from fedjax_diffusion.data.tfds.folder import Piece, TfdsFolder, open_folder, unreadable

_READER_VERSION = 2
"""To be incremented when the same files shall give other arrays."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images of one size.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: int32 [N] in 0..num_classes-1.
      num_classes: number of classes, also if not all of them occur.
      name: the data set's name.
      class_names: num_classes names; empty if unknown.
      version: of the data set, such as ``"3.0.2"``; empty if it has none.

    Raises:
      ValueError: a type, a shape or a label is wrong, or there are no examples.
    """

    images: np.ndarray
    labels: np.ndarray
    num_classes: int
    name: str
    class_names: tuple[str, ...] = ()
    version: str = ""

    def __post_init__(self) -> None:
        """Checks the types, shapes and ranges of the attributes."""
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ValueError(f"images must be uint8 [N, H, W, C], got {_describe(images)}")
        if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be int32 [{len(images)}], got {_describe(labels)}")
        if not labels.size:
            raise ValueError(f"data set {self.name!r} has no examples")
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise ValueError(
                f"labels must lie in 0..{self.num_classes - 1}, got {labels.min()}..{labels.max()}"
            )
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"class_names must be {self.num_classes} names, got {len(self.class_names)}"
            )

    @functools.cached_property
    def checksums(self) -> tuple[str, str]:
        """SHA-256 of the uint8 images and of the little-endian int32 labels, in order."""
        return checksum(self.images), checksum(self.labels.astype("<i4", copy=False))


DataDir: TypeAlias = str | os.PathLike[str] | None
Loader: TypeAlias = Callable[[str, str, DataDir], ImageDataset]
"""``loader(name, split, data_dir) -> ImageDataset``."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data set of a run; ``load_images`` checks and loads it.

    Attributes:
      name: of the data set.
      split: of the data set.
      data_dir: the folder of prepared TFDS data sets; None: the default one.
    """

    name: str
    split: str
    data_dir: str | None


def load_images(
    name: str, split: str, *, data_dir: DataDir = None, verify: bool = False
) -> ImageDataset:
    """Returns one split of a data set.

    Args:
      name: a key of ``LOADERS``, or the TFDS name of a data set with one image in an example and at
        most one class label: ``"cifar10"``, ``"cifar10:3.0.2"``, ``"emnist/digits"``. A ``#`` and
        a name choose one of several labels or a yes-or-no attribute: ``"cifar100#coarse_label"``,
        ``"celeb_a#Smiling"``. If the data set has no label, all labels are 0.
      split: ``"train"``, ``"test"`` or ``"all"``; for TFDS any of its own, also ``"train[:512]"``,
        ``"train[10%:20%]"`` and ``"train+test"``.
      data_dir: the folder of the prepared TFDS data sets; None: ``$TFDS_DATA_DIR``, or else
        ``~/tensorflow_datasets``. Ignored for embedded data sets.
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
    if name in LOADERS:
        return LOADERS[name](name, split, data_dir)
    return load_tfds(name, split, data_dir, verify=verify)


def load_digits(name: str, split: str, data_dir: DataDir = None) -> ImageDataset:
    """Returns the 1,797 real handwritten 8x8 digits of scikit-learn, 0..16 scaled to 0..255.

    Every sixth example (0, 6, 12, ...) is a test example: 300 test and 1,497 training examples.
    ``"all"`` keeps the order.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998 (its test part).
    """
    del data_dir  # embedded
    grey_values, labels = _read_digits()
    is_test = np.arange(len(labels)) % 6 == 0
    splits = {"all": np.ones_like(is_test), "train": ~is_test, "test": is_test}
    if split not in splits:
        raise ValueError(f"data set {name!r} has no split {split!r}: use one of {sorted(splits)}")
    images = np.rint(grey_values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    chosen = splits[split]
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
        images, labels = decode(folder, columns, piece, _make_in_memory)
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


def _make_in_memory(shape: tuple[int, ...], num_labels: int) -> Arrays:
    return np.empty(shape, np.uint8), np.empty((shape[0], num_labels), np.int64)


def _join(folder: TfdsFolder, split: str, arrays: Sequence[np.ndarray]) -> np.ndarray:
    shapes = sorted({array.shape[1:] for array in arrays})
    if len(shapes) > 1:
        raise ValueError(f"split {split!r} of {folder} must have images of one size, got {shapes}")
    return np.concatenate(arrays)


LOADERS: dict[str, Loader] = {"digits": load_digits}
"""Loaders of the data sets that are not read by TFDS, by name."""


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
