"""Images and labels in memory, and the rule that sets some of them aside for tests."""

import dataclasses
import functools

import numpy as np

from fedjax_diffusion.data.image_cache import checksum

TEST_EVERY = 6
"""One of so many examples is a test example where a data set has no splits of its own."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images of one size.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: int32 [N] in 0..num_classes-1; all 0 if there are none.
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
        for part, array in (("images", images), ("labels", labels)):
            if not isinstance(array, np.ndarray):
                hint = "; zeros and num_classes=1 if there are none" if part == "labels" else ""
                raise ValueError(f"{part} must be a NumPy array{hint}, got {type(array).__name__}")
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


def choose_examples(name: str, split: str, num_examples: int) -> np.ndarray:
    """Returns the examples of a split, bool [N], of a data set without splits of its own.

    Examples 0, 6, 12, ... are ``"test"``, the others ``"train"``; ``"all"`` are all of them.

    Args:
      name: of the data set, for the message.
      split: the split.
      num_examples: N, of the whole data set.

    Raises:
      ValueError: there is no such split.
    """
    is_test = np.arange(num_examples) % TEST_EVERY == 0
    splits = {"all": np.ones_like(is_test), "train": ~is_test, "test": is_test}
    if split not in splits:
        raise ValueError(f"data set {name!r} has no split {split!r}: use one of {sorted(splits)}")
    return splits[split]


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
