"""The small classifier: it learns, is the same for the same data, and is kept."""

import numpy as np
import pytest

from fedjax_diffusion.data import ImageDataset, load_images
from fedjax_diffusion.evaluation import cache as cache_module
from fedjax_diffusion.evaluation import (
    classifier,
    frechet_distance,
    make_classifier_extractor,
    reference_statistics,
)

NUM_STEPS = 12


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "cache_folder", lambda: folder)
        yield folder / "evaluation"


def bright_and_dark(number=64):
    """Two classes that any classifier can tell."""
    labels = (np.arange(number) % 2).astype(np.int32)
    noise = np.random.default_rng(0).integers(0, 60, (number, 8, 8, 1))
    return ImageDataset(
        (noise + 150 * labels[:, None, None, None]).astype(np.uint8), labels, 2, "b"
    )


def accuracy(extractor, dataset):
    return (extractor.predict_labels(extractor.extract(dataset.images)) == dataset.labels).mean()


def test_the_same_data_give_the_same_features_trained_once(cache, monkeypatch):
    dataset = bright_and_dark()
    first = make_classifier_extractor(dataset, num_steps=NUM_STEPS)
    features = first.extract(dataset.images)
    assert features.shape == (64, first.num_features)
    assert features.min() >= 0
    (path,) = cache.glob("classifier_*.npz")
    path.unlink()
    again = make_classifier_extractor(dataset, num_steps=NUM_STEPS)
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.extract(dataset.images), features)
    monkeypatch.setattr(classifier, "_train", lambda *_: pytest.fail("trained again"))
    assert make_classifier_extractor(dataset, num_steps=NUM_STEPS).fingerprint == first.fingerprint


def test_its_features_tell_what_the_labels_tell():
    dataset = bright_and_dark()
    extractor = make_classifier_extractor(dataset, num_steps=NUM_STEPS)
    assert accuracy(extractor, bright_and_dark(40)) == 1.0
    dark, bright = (dataset.images[dataset.labels == label] for label in (0, 1))
    halves = [reference_statistics(extractor, images) for images in (dark[::2], dark[1::2], bright)]
    near, far = (frechet_distance(halves[0], other) for other in halves[1:])
    assert far > 10 * near


def test_data_without_labels_are_refused():
    plain = ImageDataset(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int32), 1, "faces")
    with pytest.raises(ValueError, match=r"'faces' has no labels to train a classifier on"):
        make_classifier_extractor(plain)


def test_images_move_by_an_eighth_with_their_edges_repeated():
    image = np.arange(8, dtype=np.uint8)[None, :, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    moved = classifier._shift(np.random.default_rng(0), np.repeat(image, 200, axis=0))
    rows = {tuple(m[:, 0, 0].tolist()) for m in moved}
    up, down = (1, 2, 3, 4, 5, 6, 7, 7), (0, 0, 1, 2, 3, 4, 5, 6)
    assert rows == {up, tuple(range(8)), down}


@pytest.mark.slow
def test_digits_it_has_not_seen_are_named_rightly():
    train, test = load_images("digits", "train"), load_images("digits", "test")
    extractor = make_classifier_extractor(train)
    assert accuracy(extractor, test) >= 0.97
