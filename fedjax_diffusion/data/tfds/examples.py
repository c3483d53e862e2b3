"""Decoding of the examples of a prepared data set to arrays: 8-bit images and labels."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from PIL import Image
from tqdm import tqdm

from fedjax_diffusion.data.image_cache import Arrays, MakeArrays
from fedjax_diffusion.data.tfds.folder import Piece, TfdsFolder, one_line
from fedjax_diffusion.host.image_files import open_image

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's modes of 8-bit images by number of channels."""


class Crop(NamedTuple):
    """The central square of an image, scaled.

    Attributes:
      crop: side of the square, in pixels of the file.
      size: side of the result, in pixels. Scaled down with a triangle filter as wide as the scale.
    """

    crop: int
    size: int


CROPS = {"celeb_a": Crop(crop=140, size=64)}
"""Crops of the data sets whose images are not used whole.

CelebA as in Song et al., "Score-Based Generative Modeling through Stochastic Differential
Equations" (2021), whose code takes the central 140 x 140 of the aligned 178 x 218 images of TFDS.
"""


Size: TypeAlias = tuple[int | None, int | None]
"""Width and height in pixels; None where images may differ."""


class Columns(NamedTuple):
    """Features of an example that become the image and the labels.

    Attributes:
      image: the feature's name.
      channels: of the image.
      labels: the names of all F features that may be the label, in order.
      crop: crop of the image; None: it is used whole.
      size: width and height of every image, as the data set describes it.
    """

    image: str
    channels: int
    labels: tuple[str, ...]
    crop: Crop | None
    size: Size


def choose_columns(folder: TfdsFolder) -> Columns:
    """Returns the columns of a data set: its one image, and all its possible labels.

    Raises:
      ValueError: there is not exactly one image of 8 bits.
    """
    from tensorflow_datasets.core.features.image_feature import Image as ImageFeature

    images = [name for name, feature in folder.features.items() if type(feature) is ImageFeature]
    if len(images) != 1:
        raise ValueError(
            f"data set {folder} must have one image in an example, it has {len(images)} in "
            f"{sorted(folder.features)}"
        )
    image = folder.features[images[0]]
    if image.np_dtype != np.uint8:
        raise ValueError(f"data set {folder} must have 8-bit images, it has {image.np_dtype}")
    if image.shape[-1] not in _MODES:
        raise ValueError(f"data set {folder} must have 1, 3 or 4 channels, it has {image.shape}")
    labels = (*_class_labels(folder), *_attributes(folder))
    # All versions of a data set have the same crop.
    crop = CROPS.get(folder.name.partition(":")[0])
    return Columns(images[0], image.shape[-1], labels, crop, (image.shape[1], image.shape[0]))


class Label(NamedTuple):
    """The feature that is used as the label.

    Attributes:
      feature: its name; ``""``: there is none, all labels are 0.
      class_names: one per value.
    """

    feature: str
    class_names: tuple[str, ...]


def choose_label(folder: TfdsFolder, asked: str = "") -> Label:
    """Returns the label of a data set.

    Args:
      folder: the data set.
      asked: a class label or a yes-or-no attribute, by its name, ``"attributes/Smiling"``, or by
        the last part of it if that is unique; ``""``: the feature ``"label"``, or else the only
        class label, or none.

    Raises:
      ValueError: there is no such label, or there are several.
    """
    class_labels = _class_labels(folder)
    known = {**class_labels, **_attributes(folder)}
    if not asked:
        if "label" in class_labels or len(class_labels) <= 1:
            chosen = "label" if "label" in class_labels else next(iter(class_labels), "")
            return Label(chosen, class_labels.get(chosen, ("all",)))
        raise ValueError(
            f"data set {folder} has several labels, ask for one: "
            + ", ".join(f"{folder.name}#{name}" for name in class_labels)
        )
    if asked in known:
        return Label(asked, known[asked])
    found = [name for name in known if name.split("/")[-1] == asked]
    if len(found) != 1:
        raise ValueError(
            f"data set {folder} has {'several labels' if found else 'no label'} {asked!r}: use "
            f"one of {', '.join(found or known) or 'none'}"
        )
    return Label(found[0], known[found[0]])


def _class_labels(folder: TfdsFolder) -> dict[str, tuple[str, ...]]:
    """Returns the names of the classes, by feature."""
    from tensorflow_datasets.core.features.class_label_feature import ClassLabel

    return {
        name: tuple(feature.names)
        for name, feature in folder.features.items()
        if isinstance(feature, ClassLabel) and feature.num_classes
    }


def _attributes(folder: TfdsFolder) -> dict[str, tuple[str, ...]]:
    """Returns the names of the values no and yes, by feature."""
    from tensorflow_datasets.core.features.tensor_feature import Tensor

    return {
        name: (f"not {short}", short)
        for name, feature in folder.features.items()
        if isinstance(feature, Tensor) and feature.shape == () and feature.np_dtype == np.bool_
        for short in [name.split("/")[-1]]
    }


def decode(folder: TfdsFolder, columns: Columns, piece: Piece, make_arrays: MakeArrays) -> Arrays:
    """Returns images uint8 [N, H, W, C] and labels int64 [N, F] of a piece of a split.

    Shows a progress bar on a terminal.

    Args:
      folder: the data set.
      columns: image and labels to read.
      piece: examples to read.
      make_arrays: called once, with the shape of all images.

    Raises:
      ValueError: an example cannot be read or decoded, or the images are of several sizes. The
        message names the folder, the split and the example.
    """
    num_examples = piece.stop - piece.start
    images = labels = np.empty(0)
    with tqdm(
        _parse(folder, columns, piece),
        desc=f"decoding {folder.name} {piece.split}",
        total=num_examples,
        unit=" images",
        leave=False,
        disable=None,
    ) as examples:
        for i, (image, values) in enumerate(examples):
            if i == 0:
                images, labels = make_arrays((num_examples, *image.shape), len(values))
            if image.shape != images.shape[1:]:
                raise ValueError(
                    f"split {piece.split!r} of {folder} must have images of one size: image "
                    f"{piece.start} is {list(images.shape[1:])}, image {piece.start + i} is "
                    f"{list(image.shape)}"
                )
            images[i], labels[i] = image, values
    return images, labels


def _parse(
    folder: TfdsFolder, columns: Columns, piece: Piece
) -> Iterator[tuple[np.ndarray, Sequence[int]]]:
    """Yields image and labels of the examples of a piece."""
    from tensorflow_datasets.proto import tf_example_pb2

    for number, record in enumerate(folder.read(piece), piece.start):
        try:
            example: Any = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]
            features = example.FromString(record).features.feature
            encoded = _single(features[columns.image].bytes_list.value)
            labels = [_single(features[name].int64_list.value) for name in columns.labels]
        except Exception as error:  # protobuf's DecodeError, or ValueError: not one value
            raise folder.refusal(
                piece.split,
                f"example {number} does not hold the image and the labels of features.json",
            ) from error
        try:
            image = decode_image(encoded, columns.channels, columns.crop, columns.size)
        except Exception as error:  # each image format raises its own errors
            reason = f"the image of example {number} cannot be decoded ({one_line(error)})"
            raise folder.refusal(piece.split, reason) from error
        yield image, labels


def _single(values: Sequence[Any]) -> Any:
    (value,) = values
    return value


def decode_image(
    encoded: bytes, channels: int, crop: Crop | None = None, size: Size | None = None
) -> np.ndarray:
    """Returns uint8 [H, W, C] of a PNG, JPEG or other image file.

    Args:
      encoded: the bytes of the file.
      channels: 1, 3 or 4; an image of another kind is converted.
      crop: part of the image to use; None: all of it.
      size: width and height that it must have.

    Raises:
      ValueError: no image or an incomplete one, more than 8 bits in a channel, another size, or an
        image smaller than the crop.
    """
    with open_image(encoded) as image:
        if size is not None and any(
            known not in (None, found) for known, found in zip(size, image.size, strict=True)
        ):
            raise ValueError(f"its size is {image.size}, features.json says {size}")
        if image.mode != _MODES[channels]:
            image = image.convert(_MODES[channels])
        if crop is not None:
            if min(image.size) < crop.crop:
                raise ValueError(f"it must be at least {crop.crop} wide and high, is {image.size}")
            left, top = ((side - crop.crop) // 2 for side in image.size)
            image = image.crop((left, top, left + crop.crop, top + crop.crop))
            image = image.resize((crop.size, crop.size), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], channels)
