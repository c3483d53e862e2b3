"""Authenticity: how many images are more than copies of the ones that were trained on."""

import numpy as np

from fedjax_diffusion.evaluation.manifold import squared_distances

_ENTRIES = 1 << 24
"""Of a block of distances, so that memory stays small."""


def authenticity(real: np.ndarray, generated: np.ndarray) -> float:
    """Returns the share of generated images that are no copies, in [0, 1].

    A generated image is taken for a copy if it is at least as near to its nearest real image as
    that one is to any other real image. Fresh real images get about a half; a model that
    remembers its training images gets less than they do.

    Args:
      real: uint8 or float [N, D], N >= 2, all that were trained on.
      generated: uint8 or float [M, D].

    Raises:
      ValueError: there are fewer than two real images.

    Source: Alaa et al. 2022, "How Faithful is your Synthetic Data?", section 4, on pixels instead
    of an embedding.
    """
    if len(real) < 2:
        raise ValueError(f"authenticity needs two real images or more, got {len(real)}")
    center = np.mean(real, axis=0, dtype=np.float32)  # small numbers round less
    real, generated = (np.asarray(images, np.float32) - center for images in (real, generated))
    nearest, distances = _find_nearest(generated, real)
    found, places = np.unique(nearest, return_inverse=True)
    _, between_real = _find_nearest(real[found], real, found)
    return float((distances > between_real[places]).mean())


def _find_nearest(
    images: np.ndarray, among: np.ndarray, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the place of each image's nearest other one, int [M], and its squared distance.

    Args:
      images: float [M, D].
      among: float [N, D].
      own: int [M], the place of each image itself in ``among``, which is passed by; None: none.
    """
    nearest, distances = np.empty(len(images), int), np.empty(len(images))
    num_rows = max(1, _ENTRIES // len(among))
    for start in range(0, len(images), num_rows):
        rows = slice(start, start + num_rows)
        block = squared_distances(images[rows], among)
        if own is not None:
            block[np.arange(len(block)), own[rows]] = np.inf
        nearest[rows] = block.argmin(axis=1)
        distances[rows] = block.min(axis=1)
    return nearest, distances
