"""Random features: named, the same for the same image size, and able to tell sets of images."""

import dataclasses

import numpy as np
import pytest

from fedjax_diffusion.data import load_images
from fedjax_diffusion.evaluation import (
    cache,
    frechet_distance,
    make_random_extractor,
    measure_statistics,
    random_features,
)
from fedjax_diffusion.evaluation.quality import EvaluationConfig, make_extractor, measure_quality

DIGITS = load_images("digits", "train")
PLAIN = dataclasses.replace(DIGITS, labels=0 * DIGITS.labels, num_classes=1, class_names=())


def test_images_without_labels_are_measured_in_features_of_one_network(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    extractor = make_extractor(EvaluationConfig(20), PLAIN)
    random_features._draw.cache_clear()
    again = make_random_extractor((8, 8, 1), tmp_path)
    monkeypatch.setattr(random_features, "_draw", lambda _: pytest.fail("drawn again"))
    assert make_random_extractor((8, 8, 1), tmp_path).fingerprint == again.fingerprint
    assert (extractor.name, extractor.fingerprint) == ("random", again.fingerprint)
    features = extractor.extract(DIGITS.images[:300])
    np.testing.assert_array_equal(features, again.extract(DIGITS.images[:300]))
    assert np.linalg.matrix_rank(np.cov(features.T), tol=1e-6) > 16
    few = dataclasses.replace(PLAIN, images=DIGITS.images[:300], labels=PLAIN.labels[:300])
    quality = measure_quality(DIGITS.images[300:340], few, None, extractor)
    assert quality["frechet_random_features"] > 0
    assert quality["extractor"] == "random"
    assert not {"fid", "fcd", "kcd"} & quality.keys()


def test_blurred_and_noisy_digits_are_farther_than_other_digits():
    extractor = make_random_extractor((8, 8, 1))
    first, second = DIGITS.images[:700], DIGITS.images[700:1400]
    noise = np.random.default_rng(0).integers(-96, 97, second.shape)
    noisy = np.clip(second + noise, 0, 255).astype(np.uint8)
    blurred = ((second + np.roll(second.astype(int), 1, axis=2)) // 2).astype(np.uint8)
    real, *others = (
        measure_statistics([extractor.extract(images)])
        for images in (first, second, noisy, blurred)
    )
    near, *far = (frechet_distance(other, real) for other in others)
    assert min(far) > 3 * near
