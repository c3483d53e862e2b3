"""Improved precision and recall: shares of each set of images within the other set."""

import numpy as np

_ROWS = 1000
"""Rows of a block of distances, so that memory stays small."""


def precision_recall(
    real: np.ndarray, generated: np.ndarray, num_neighbors: int = 3
) -> tuple[float, float]:
    """Returns precision and recall of generated images, both in [0, 1].

    Each set covers the balls around its features whose radius is the distance to the k-th nearest
    neighbour in the same set. Precision is the share of generated features that the real set
    covers, recall the share of real features that the generated set covers.

    Args:
      real: float [N, D], N > k.
      generated: float [M, D], M > k; should be as many as the real ones.
      num_neighbors: k.

    Raises:
      ValueError: a set has no k-th neighbour.

    Source: Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative
    models", equations 1 and 2.
    """
    if min(len(real), len(generated)) <= num_neighbors:
        raise ValueError(
            f"precision and recall need more than {num_neighbors} images in each set, got "
            f"{len(real)} and {len(generated)}"
        )
    center = np.mean(real, axis=0, dtype=np.float64)  # smaller numbers have smaller rounding errors
    real, generated = (np.asarray(features, np.float64) - center for features in (real, generated))
    precision = _share_covered(generated, real, _radii(real, num_neighbors))
    recall = _share_covered(real, generated, _radii(generated, num_neighbors))
    return precision, recall


def _radii(features: np.ndarray, num_neighbors: int) -> np.ndarray:
    """Returns the squared distance of each feature to its k-th nearest neighbour, [N]."""
    radii = np.empty(len(features))
    for start in range(0, len(features), _ROWS):
        distances = squared_distances(features[start : start + _ROWS], features)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf  # itself
        radii[start + rows] = np.partition(distances, num_neighbors - 1)[:, num_neighbors - 1]
    return radii


def _share_covered(features: np.ndarray, centers: np.ndarray, radii: np.ndarray) -> float:
    covered = 0
    for start in range(0, len(features), _ROWS):
        distances = squared_distances(features[start : start + _ROWS], centers)
        covered += int((distances <= radii).any(axis=1).sum())
    return covered / len(features)


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns squared distances, float [N, M] of x's dtype; zero for rows equal up to rounding.

    Sums of D products in another order differ by up to ``D eps`` of their size, and the order
    depends on the block: else an image with k more copies would not be in its own ball.
    """
    squares = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1)[None, :]
    distances = squares - 2 * (x @ y.T)
    rounding = 4 * x.shape[1] * np.finfo(x.dtype).eps * squares
    return np.where(distances <= rounding, 0.0, distances)
