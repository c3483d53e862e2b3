"""Statistics are those of all features at once, however they come in, and are kept safely."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjax_diffusion.evaluation import Extractor, measure_statistics, reference_statistics
from fedjax_diffusion.evaluation import cache as cache_module

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 2, 2, 1), np.uint8)


def extractor_that_counts(calls, fingerprint="f"):
    def forward(images):
        calls.append(len(images))
        return np.asarray(images, np.float32).reshape(len(images), -1)[:, :3]

    return Extractor("classifier", fingerprint, 3, forward, batch_size=4)


@given(sizes=st.lists(st.integers(1, 30), min_size=2, max_size=6), offset=st.floats(-1e6, 1e6))
def test_batches_in_a_row_give_the_moments_of_all_features(sizes, offset):
    # In float64, a million away from zero: 1e-6 of the spread is what rounding leaves of it.
    features = np.random.default_rng(sum(sizes)).normal(size=(sum(sizes), 3)) + offset
    found = measure_statistics(np.split(features, np.cumsum(sizes)[:-1]))
    assert found.num_samples == len(features)
    np.testing.assert_allclose(found.mean, features.mean(axis=0), rtol=1e-12, atol=1e-12)
    expected = np.cov(features, rowvar=False)
    np.testing.assert_allclose(found.covariance, expected, atol=1e-6)


def test_float32_features_far_from_zero_keep_their_spread():
    features = np.random.default_rng(0).normal(size=(4000, 2)).astype(np.float32) + 1000
    found = measure_statistics(np.split(features, 40))
    expected = np.cov(features.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([np.ones((1, 3))], "two images or more, got 1"),
        ([np.array([[1.0, np.nan], [0, 0]])], "not finite"),
    ],
)
def test_what_has_no_statistics_is_refused(batches, said):
    with pytest.raises(ValueError, match=said):
        measure_statistics(batches)


def test_an_extractor_pads_to_one_size_and_returns_what_was_asked():
    calls = []
    features = extractor_that_counts(calls).extract(IMAGES)
    assert calls == [4, 4, 4]
    np.testing.assert_array_equal(features, IMAGES.reshape(10, 4)[:, :3])


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(cache_module, "cache_folder", lambda: tmp_path)
    return tmp_path / "evaluation"


def test_real_statistics_are_measured_once_per_data_and_extractor(cache):
    calls = []
    first = reference_statistics(extractor_that_counts(calls), IMAGES)
    number = len(calls)
    again = reference_statistics(extractor_that_counts(calls), IMAGES)
    assert len(calls) == number
    np.testing.assert_array_equal(first.covariance, again.covariance)
    reference_statistics(extractor_that_counts(calls, "other"), IMAGES)
    assert len(calls) == 2 * number
    reference_statistics(extractor_that_counts(calls), IMAGES + 1)
    assert len(calls) == 3 * number


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b[:90] + b"?" + b[91:], lambda b: b""]
)
def test_a_damaged_file_is_made_again(cache, damage):
    expected = reference_statistics(extractor_that_counts([]), IMAGES)
    (path,) = cache.glob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    calls = []
    found = reference_statistics(extractor_that_counts(calls), IMAGES)
    assert calls
    np.testing.assert_array_equal(found.mean, expected.mean)
    assert reference_statistics(extractor_that_counts([]), IMAGES).num_samples == 10


def test_no_folder_is_no_reason_to_fail(monkeypatch):
    monkeypatch.setattr(cache_module, "cache_folder", lambda: None)
    assert reference_statistics(extractor_that_counts([]), IMAGES).num_samples == 10
