"""Distances between two sets of features: Fréchet and kernel."""

import numpy as np

from fedjax_diffusion.evaluation.statistics import FeatureStatistics

MIN_SAMPLES = 20
"""Fewest features of each set: ten blocks of two."""


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Returns the squared 2-Wasserstein distance between Gaussians with these moments.

        |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^{1/2} S_b S_a^{1/2})^{1/2})

    The last trace is the sum of singular values of ``S_a^{1/2} S_b^{1/2}``, both roots symmetric
    and real: no complex root, no added diagonal, also with fewer images than features.

    Args:
      a: moments of one set.
      b: moments of the other set, in the same features.

    Returns:
      >= 0. With Inception's features it is the FID of Heusel et al. 2017, biased upwards in
      proportion to ``1 / N``: compare equal numbers of images.

    Raises:
      ValueError: the numbers of features differ.

    >>> unit = FeatureStatistics(9, np.zeros(2), np.eye(2))
    >>> round(frechet_distance(unit, FeatureStatistics(9, np.array([3.0, 4.0]), 4 * np.eye(2))), 9)
    27.0

    Source: Dowson and Landau 1982, "The Fréchet distance between multivariate normal
    distributions".
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features must be as many, got {a.mean.shape[0]} and {b.mean.shape[0]}")
    roots = _square_root(a.covariance) @ _square_root(b.covariance)
    shared = float(np.linalg.svd(roots, compute_uv=False).sum())
    spread = float(np.trace(a.covariance) + np.trace(b.covariance))
    return max(float(np.sum((a.mean - b.mean) ** 2)) + spread - 2 * shared, 0.0)


def _square_root(covariance: np.ndarray) -> np.ndarray:
    """Returns the symmetric root of a positive semidefinite matrix, float64 [D, D]."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def kernel_distance(
    x: np.ndarray, y: np.ndarray, *, block_size: int = 500, seed: int = 0
) -> tuple[float, float]:
    """Returns the unbiased squared maximum mean discrepancy and its standard error.

        mean of k over pairs of x, plus the same of y, minus twice the mean of k over x and y,
        k(u, v) = (u . v / D + 1)^3

    averaged over disjoint blocks of shuffled features, which are independent and so give the
    standard error.

    Args:
      x: float [N, D].
      y: float [M, D].
      block_size: features of each set in a block; at most a tenth of the smaller set is used,
        because fewer blocks estimate the error badly.
      seed: of the shuffle.

    Returns:
      The mean, which may be negative, and its standard error. With Inception's features it is KID.

    Raises:
      ValueError: a set has fewer than ``MIN_SAMPLES`` features.

    Source: Bińkowski et al. 2018, "Demystifying MMD GANs", equation 4.
    """
    number = min(len(x), len(y))
    if number < MIN_SAMPLES:
        raise ValueError(f"kernel distance needs {MIN_SAMPLES} features in a set, got {number}")
    size = min(block_size, number // 10)
    generator = np.random.default_rng(seed)
    blocks = [
        np.asarray(z, np.float64)[generator.permutation(len(z))[: number // size * size]]
        for z in (x, y)
    ]
    pairs = zip(*(z.reshape(-1, size, z.shape[1]) for z in blocks), strict=True)
    values = [_squared_discrepancy(a, b) for a, b in pairs]
    return float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)


def _squared_discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    n, m = len(x), len(y)
    xx, yy, xy = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())
