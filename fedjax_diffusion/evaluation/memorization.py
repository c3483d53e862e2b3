"""Authenticity: the share of images that are not copies of training images."""

import numpy as np

from fedjax_diffusion.evaluation.manifold import squared_distances

_ROWS = 4096
"""Images of each set in a block, so that memory stays small."""


def authenticity(real: np.ndarray, generated: np.ndarray) -> float:
    """Returns the share of generated images that are not copies, in [0, 1].

    A generated image counts as a copy if it is at least as near to its nearest real image as that
    one is to any other real image. The share of new real images depends on the data, so compare
    with held-out images. A model that memorizes its training images has a smaller share.

    Args:
      real: uint8 or float [N, D], N >= 2, all training images.
      generated: uint8 or float [M, D].

    Raises:
      ValueError: there are fewer than two real images.

    Source: Alaa et al. 2022, "How Faithful is your Synthetic Data?", section 4, on pixels instead
    of an embedding.
    """
    if len(real) < 2:
        raise ValueError(f"authenticity needs two real images or more, got {len(real)}")
    nearest, distances = _find_nearest(generated, real)
    found, places = np.unique(nearest, return_inverse=True)
    _, between_real = _find_nearest(real[found], real, found)
    return float((distances > between_real[places]).mean())


def _find_nearest(
    images: np.ndarray, among: np.ndarray, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the index of the image nearest to each image, int [M], and its squared distance.

    Args:
      images: [M, D].
      among: [N, D], which may be mapped from a file.
      own: int [M], the index in ``among`` of each image itself, which is skipped; None: none is.
    """
    nearest, least = np.zeros(len(images), int), np.full(len(images), np.inf)
    center = np.mean(images, axis=0, dtype=np.float32)  # for smaller rounding errors
    for start in range(0, len(images), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(images)))
        block = np.asarray(images[rows], np.float32) - center
        for first in range(0, len(among), _ROWS):
            others = np.asarray(among[first : first + _ROWS], np.float32) - center
            distances = squared_distances(block, others)
            if own is not None:
                itself = own[rows] - first
                is_here = (itself >= 0) & (itself < len(others))
                distances[is_here, itself[is_here]] = np.inf
            is_nearer = distances.min(axis=1) < least[rows]
            nearest[rows[is_nearer]] = first + distances.argmin(axis=1)[is_nearer]
            least[rows] = np.minimum(least[rows], distances.min(axis=1))
    return nearest, least
