"""Mean and covariance of features, streamed in float64."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fedjax_diffusion.evaluation.cache import keep_arrays
from fedjax_diffusion.evaluation.features import Extractor, fingerprint_arrays

_VERSION = 1
"""To be incremented if a network's forward pass changes, which its fingerprint does not show."""


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """The moments of a set of features, for the Fréchet distance.

    Attributes:
      num_samples: N >= 2.
      mean: float64 [D].
      covariance: float64 [D, D], unbiased (divided by N - 1).
    """

    num_samples: int
    mean: np.ndarray
    covariance: np.ndarray


def measure_statistics(batches: Iterable[np.ndarray]) -> FeatureStatistics:
    """Returns the statistics of features in batches; each batch is read once.

    Two sets of n and m features with means a and b and scatters S and T together have the scatter
    ``S + T + n m / (n + m) (a - b) (a - b)^T``.

    Args:
      batches: float [B, D] each, with at least two features in total.

    Raises:
      ValueError: there are fewer than two features, or one is not finite.

    Guarantees:
      Up to rounding, the result does not depend on the division into batches.

    Source: Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm".
    """
    num_samples, mean, scatter = 0, np.zeros(()), np.zeros(())
    for batch in batches:
        features = np.asarray(batch, np.float64)
        n = len(features)
        if not n:
            continue
        center = features.mean(axis=0)
        offset = center - mean
        total = num_samples + n
        scatter = scatter + (features - center).T @ (features - center)
        scatter = scatter + np.outer(offset, offset) * (num_samples * n / total)
        mean, num_samples = mean + offset * (n / total), total
    if num_samples < 2:
        raise ValueError(f"statistics need two images or more, got {num_samples}")
    if not np.isfinite(scatter).all():
        raise ValueError("statistics: a feature is not finite")
    return FeatureStatistics(num_samples, mean, scatter / (num_samples - 1))


def reference_statistics(extractor: Extractor, images: np.ndarray) -> FeatureStatistics:
    """Returns the statistics of real images, stored in the user's cache folder.

    Args:
      extractor: of the features.
      images: uint8 [N, H, W, C].
    """

    def measure() -> dict[str, np.ndarray]:
        found = measure_statistics(extractor.stream(images))
        return {"mean": found.mean, "covariance": found.covariance}

    name = f"statistics_{_VERSION}_{extractor.fingerprint}_{fingerprint_arrays(images)}"
    kept = keep_arrays(name, measure)
    return FeatureStatistics(len(images), kept["mean"], kept["covariance"])
