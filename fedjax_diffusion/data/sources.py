"""Data sets by name: 8-bit images and their labels, on the host.

``"digits"`` is embedded in scikit-learn and needs no files. Every other name is read from a folder
that TensorFlow Datasets (TFDS) has prepared, without TensorFlow and without a network. Nothing is
ever downloaded, and no data set ever stands in for another.
"""

import contextlib
import dataclasses
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import absl.logging
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images of one size.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: int32 [N] in 0..num_classes-1.
      num_classes: how many classes there are, also when not all of them occur.
      name: the data set's name.

    Raises:
      ValueError: a type, a shape or a label is not as above, or there are no examples.
    """

    images: np.ndarray
    labels: np.ndarray
    num_classes: int
    name: str

    def __post_init__(self) -> None:
        """Holds the attributes to their types, shapes and ranges."""
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


DataDir: TypeAlias = str | os.PathLike[str] | None
Loader: TypeAlias = Callable[[str, str, DataDir], ImageDataset]
"""``loader(name, split, data_dir) -> ImageDataset``."""


def load_images(name: str, split: str, *, data_dir: DataDir = None) -> ImageDataset:
    """Returns one split of a data set.

    Args:
      name: a key of ``LOADERS``, or the TFDS name of a data set with ``image`` and ``label``, such
        as ``"cifar10"``, ``"cifar10:3.0.2"`` or ``"emnist/digits"``.
      split: ``"train"``, ``"test"`` or ``"all"``; for TFDS any of its own, slices such as
        ``"train[:512]"`` included.
      data_dir: the folder that holds the prepared TFDS data sets; None for ``$TFDS_DATA_DIR``, or
        else ``~/tensorflow_datasets``. Data sets that are embedded ignore it.

    Raises:
      ValueError: there is no such data set or split, it is not prepared in ``data_dir``, or its
        images are not 8-bit images of one size. The message names the folder and what to do.

    >>> load_images("digits", "train").images.shape
    (1497, 8, 8, 1)
    """
    return LOADERS.get(name, load_tfds)(name, split, data_dir)


def load_digits(name: str, split: str, data_dir: DataDir = None) -> ImageDataset:
    """Returns the 1,797 real handwritten 8x8 digits of scikit-learn, 0..16 scaled to 0..255.

    Every sixth example (0, 6, 12, ...) is a test example: 300, and 1,497 to train on. ``"all"``
    keeps the order.

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
    return ImageDataset(images[chosen], labels[chosen].astype(np.int32), 10, name)


def _read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns grey values [1797, 64] and labels [1797].

    Read from scikit-learn's file itself where it lies as expected: importing the package costs the
    start of a run a second.
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


def load_tfds(name: str, split: str, data_dir: DataDir = None) -> ImageDataset:
    """Returns a split of a data set that TFDS has prepared for random access."""
    folder = os.path.expanduser(
        data_dir or os.environ.get("TFDS_DATA_DIR") or os.path.join("~", "tensorflow_datasets")
    )
    with _quiet_absl():
        features, source = _open_tfds(name, split, folder)
        _check_features(name, features)
        images, labels = _read(name, source)
    return ImageDataset(images, labels, features["label"].num_classes, name)


LOADERS: dict[str, Loader] = {"digits": load_digits}
"""The data sets that do not come through TFDS."""


def _open_tfds(name: str, split: str, folder: str) -> tuple[Any, Any]:
    """Returns the features and the random-access source of a prepared data set."""
    # Found by its files: the version that is there, whatever version of the code TFDS ships.
    from tensorflow_datasets.core.read_only_builder import builder_from_files
    from tensorflow_datasets.core.registered import DatasetNotFoundError

    command = f"tfds build {name} --data_dir={folder} --file_format=array_record"
    advice = f"prepare it where TensorFlow is installed, with `{command}`"
    try:
        builder: Any = builder_from_files(name, data_dir=folder)
        return builder.info.features, builder.as_data_source(split=split)
    except DatasetNotFoundError:
        raise ValueError(
            f"data set {name!r} is neither embedded ({', '.join(LOADERS)}) nor prepared in "
            f"{folder!r}: {advice}"
        ) from None
    except NotImplementedError:
        raise ValueError(
            f"data set {name!r} in {folder!r} is not stored for random access: {advice}"
        ) from None
    except ImportError as error:
        raise ValueError(
            f"data set {name!r} in {folder!r} cannot be read ({error}): pip install array_record"
        ) from error
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"split {split!r} of {name!r} in {folder!r}: {reason}") from error


def _check_features(name: str, features: Any) -> None:
    if not {"image", "label"} <= set(features) or not hasattr(features["label"], "num_classes"):
        raise ValueError(
            f"data set {name!r} must have an 'image' and a class 'label', it has {sorted(features)}"
        )
    if features["image"].np_dtype != np.uint8:
        raise ValueError(
            f"data set {name!r} must have 8-bit images, it has {features['image'].np_dtype}"
        )


def _read(name: str, source: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns images [N, H, W, C] and labels [N]; all images must be of one size."""
    images, labels = np.empty((0, 0, 0, 0), np.uint8), np.empty(len(source), np.int32)
    for i in range(len(source)):
        example = source[i]
        image = example["image"]
        if i == 0:
            images = np.empty((len(source), *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"data set {name!r} must have images of one size: image 0 is "
                f"{list(images.shape[1:])}, image {i} is {list(image.shape)}"
            )
        images[i], labels[i] = image, example["label"]
    return images, labels


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Keeps TFDS's advice (install OpenCV, ...) off stderr."""
    verbosity = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        yield
    finally:
        absl.logging.set_verbosity(verbosity)


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
