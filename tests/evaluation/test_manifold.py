"""Precision and recall against their definition, written as loops."""

import numpy as np
import pytest

from fedjax_diffusion.evaluation import manifold, precision_recall


def plain_share(features, centers, k):
    def radius(i):
        return sorted(np.linalg.norm(centers - centers[i], axis=1))[k]  # itself is the 0-th

    radii = [radius(i) for i in range(len(centers))]
    covered = [
        any(np.linalg.norm(x - c) <= r for c, r in zip(centers, radii, strict=True))
        for x in features
    ]
    return np.mean(covered)


@pytest.mark.parametrize("rows", [3, 1000])
def test_it_is_the_definition(monkeypatch, rows):
    monkeypatch.setattr(manifold, "_ROWS", rows)  # blocks change nothing
    generator = np.random.default_rng(0)
    real, generated = generator.normal(size=(31, 2)), generator.normal(0.7, 1.5, size=(23, 2))
    precision, recall = precision_recall(real, generated, num_neighbors=2)
    assert precision == plain_share(generated, real, 2)
    assert recall == plain_share(real, generated, 2)
    assert 0 < precision < 1 > recall > 0


def test_a_model_that_knows_one_of_two_classes_is_precise_and_recalls_half():
    generator = np.random.default_rng(0)
    classes = [generator.normal(center, 1e-3, size=(50, 2)) for center in (0, 9)]
    precision, recall = precision_recall(np.concatenate(classes), classes[0])
    assert (precision, recall) == (1.0, 0.5)


def test_images_that_occur_many_times_cover_themselves():
    # Radii are zero then: rounding must not push an image out of its own ball.
    few = np.random.default_rng(0).normal(50.0, 1.0, size=(7, 64))
    real, generated = few[np.arange(35) % 7], few[3 * np.arange(42) % 7]
    assert precision_recall(real, generated) == (1.0, 1.0)
    assert precision_recall(real, generated + 1e-3) == (0.0, 0.0)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="more than 3 images in each set, got 3 and 9"):
        precision_recall(np.ones((3, 2)), np.ones((9, 2)))
