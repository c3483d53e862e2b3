"""Distances equal closed forms, SciPy's matrix root, and plain double loops."""

import numpy as np
import pytest
import scipy.linalg

from fedjax_diffusion.evaluation import (
    FeatureStatistics,
    frechet_distance,
    kernel_distance,
    measure_statistics,
)


def random_statistics(seed, num_features, num_samples):
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(num_features, num_features))
    return measure_statistics([generator.normal(size=(num_samples, num_features)) @ mixing])


def test_gaussians_that_share_their_axes_are_as_far_as_their_deviations():
    rotation = scipy.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    a, b = np.array([1.0, 2, 3, 4, 0.5]), np.array([4.0, 2, 0.5, 1, 3])  # standard deviations
    mean = np.arange(5.0)
    first = FeatureStatistics(9, np.zeros(5), rotation @ np.diag(a**2) @ rotation.T)
    second = FeatureStatistics(9, mean, rotation @ np.diag(b**2) @ rotation.T)
    expected = np.sum(mean**2) + np.sum((a - b) ** 2)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("num_features", [1, 3, 64])
def test_scipys_matrix_root_agrees(num_features):
    a, b = (random_statistics(seed, num_features, 500) for seed in (1, 2))
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("num_samples", [3, 300])
def test_the_distance_is_zero_to_itself_and_symmetric(num_samples):
    a, b = (random_statistics(seed, 16, num_samples) for seed in (1, 2))
    # Roots of eigenvalues lost in rounding, eps |S|, are sqrt(eps) |S|^(1/2): where there are
    # fewer samples than features, most are lost.
    assert frechet_distance(a, a) <= 1e-6 * np.trace(a.covariance)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)


def test_one_dimension_less_than_singular_agrees_with_the_closed_form():
    a = FeatureStatistics(2, np.zeros(3), np.diag([1.0, 0, 0]))
    b = FeatureStatistics(2, np.ones(3), np.diag([0.0, 4, 0]))
    assert frechet_distance(a, b) == pytest.approx(3 + 1 + 4, rel=1e-12)


def test_samples_of_known_gaussians_are_at_the_closed_distance():
    """One feature: (m + n)^2-like sums of a mean and a deviation, whose variances are known."""
    generator, n = np.random.default_rng(0), 200_000
    x, y = generator.normal(0, 1, (n, 1)), generator.normal(3, 2, (n, 1))
    found = frechet_distance(measure_statistics([x]), measure_statistics([y]))
    # d = (m1 - m2)^2 + (s1 - s2)^2: var = 4 9 (1 + 4) / n + 4 1 (1 / 2 + 4 / 2) / n
    tolerance = 5 * np.sqrt((180 + 10) / n)
    assert found == pytest.approx(9 + 1, abs=tolerance)


def test_features_of_different_numbers_are_refused():
    with pytest.raises(ValueError, match="got 2 and 3"):
        frechet_distance(random_statistics(0, 2, 9), random_statistics(0, 3, 9))


def plain_discrepancy(x, y):
    def kernel(u, v):
        return (float(u @ v) / len(u) + 1) ** 3

    def within(z):
        pairs = [(i, j) for i in range(len(z)) for j in range(len(z)) if i != j]
        return np.mean([kernel(z[i], z[j]) for i, j in pairs])

    return within(x) + within(y) - 2 * np.mean([kernel(u, v) for u in x for v in y])


def test_the_kernel_distance_is_the_mean_over_blocks_of_a_double_loop():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(31, 3)), generator.normal(1, 2, size=(35, 3))
    mean, error = kernel_distance(x, y, seed=4)
    shuffle = np.random.default_rng(4)
    x, y = x[shuffle.permutation(31)[:30]], y[shuffle.permutation(35)[:30]]
    blocks = [plain_discrepancy(x[i : i + 3], y[i : i + 3]) for i in range(0, 30, 3)]
    assert mean == pytest.approx(np.mean(blocks), rel=1e-12)
    assert error == pytest.approx(np.std(blocks, ddof=1) / 10**0.5, rel=1e-9)


def test_the_kernel_distance_of_equal_laws_is_zero_within_its_error():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 20_000, 4))
    mean, error = kernel_distance(x, y, block_size=100)  # 200 blocks: their mean is near normal
    assert abs(mean) < 5 * error
    shifted, error = kernel_distance(x, y + 0.5, block_size=100)
    assert shifted > 5 * error


def test_too_few_features_have_no_kernel_distance():
    with pytest.raises(ValueError, match="20 features in a set, got 19"):
        kernel_distance(np.ones((19, 2)), np.ones((99, 2)))
