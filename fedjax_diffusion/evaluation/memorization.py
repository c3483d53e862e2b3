"""Authenticity: how many images are more than copies of the ones that were trained on."""

import numpy as np

from fedjax_diffusion.evaluation.manifold import squared_distances

_ROWS = 4096
"""Images of a block, on either side, so that memory stays small."""


def authenticity(real: np.ndarray, generated: np.ndarray) -> float:
    """Returns the share of generated images that are no copies, in [0, 1].

    A generated image is taken for a copy if it is at least as near to its nearest real image as
    that one is to any other real image. What fresh real images get depends on the data: hold it
    against that of held-out ones. A model that remembers its training images gets less.

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
    nearest, distances = _find_nearest(generated, real)
    found, places = np.unique(nearest, return_inverse=True)
    _, between_real = _find_nearest(real[found], real, found)
    return float((distances > between_real[places]).mean())


def _find_nearest(
    images: np.ndarray, among: np.ndarray, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the place of each image's nearest other one, int [M], and its squared distance.

    Args:
      images: [M, D].
      among: [N, D], which may lie in a file.
      own: int [M], the place of each image itself in ``among``, which is passed by; None: none.
    """
    nearest, least = np.zeros(len(images), int), np.full(len(images), np.inf)
    center = np.mean(images, axis=0, dtype=np.float32)  # small numbers round less
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
