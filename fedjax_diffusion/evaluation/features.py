"""Features of images, in which distances between sets of images are measured."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fedjax_diffusion.types import Array

_ONE_BATCH = threading.Lock()
"""Held while a batch is on the device, whose memory is not to hold those of several threads."""


@dataclass(frozen=True)
class Extractor:
    """A network that computes features of images.

    Attributes:
      name: ``"inception"``, ``"other_inception"``, ``"classifier"`` or ``"random"``; it names the
        distances.
      fingerprint: hexadecimal, of its weights; equal fingerprints give comparable distances.
      num_features: D.
      forward: ``uint8 [batch_size, H, W, C] -> float32 [batch_size, D]``, compiled once.
      batch_size: images per batch.
      predict_labels: ``float32 [N, D] -> int [N]``, of a classifier; None: it is not one.
    """

    name: str
    fingerprint: str
    num_features: int
    forward: Callable[[np.ndarray], Array]
    batch_size: int
    predict_labels: Callable[[np.ndarray], np.ndarray] | None = None

    def stream(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the features of uint8 [N, H, W, C] images, batch by batch, float32 [<= B, D]."""
        for start in range(0, len(images), self.batch_size):
            batch = np.asarray(images[start : start + self.batch_size])
            missing = [(0, self.batch_size - len(batch)), (0, 0), (0, 0), (0, 0)]
            with _ONE_BATCH:
                features = np.asarray(self.forward(np.pad(batch, missing)))
            yield features[: len(batch)]

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Returns the features of uint8 [N, H, W, C] images, float32 [N, D]."""
        return np.concatenate([*self.stream(images)])


def fingerprint_arrays(*arrays: np.ndarray) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of arrays, their shapes and dtypes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
