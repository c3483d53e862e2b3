"""What depends on the data alone is measured once for all runs."""

import dataclasses

import numpy as np
import pytest

from fedjax_diffusion.data import ImageDataset
from fedjax_diffusion.evaluation import Extractor, quality
from fedjax_diffusion.evaluation.quality import measure_quality


def test_held_out_images_are_measured_once(tmp_path, monkeypatch):
    """By any number of processes: their measures lie in the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    made, real, other = (rng.integers(0, 256, (n, 4, 4, 1), np.uint8) for n in (20, 30, 25))
    train, test = (
        ImageDataset(images, np.arange(len(images), dtype=np.int32) % 2, 2, "drawn")
        for images in (real, other)
    )
    batches = []

    def forward(images):
        batches.append(images)
        return np.asarray(images, np.float32).reshape(len(images), 16)[:, :3]

    def predict_labels(features):
        return (features[:, 0] > 100).astype(np.int32)

    extractor = Extractor("classifier", "abc", 3, forward, 50, predict_labels)
    first = measure_quality(made, train, test, extractor)
    num_batches = len(batches)
    assert measure_quality(made, train, test, extractor) == first
    assert len(batches) - num_batches == 2, "of the images and of as many real ones"
    expected = np.mean((other[:, 0, 0, 0] > 100) == test.labels)
    assert first["classifier_accuracy"] == expected
    seen = []
    monkeypatch.setattr(quality, "authenticity", lambda *sets: seen.append(len(sets[1])) or 0.5)
    measure_quality(made, train, test, dataclasses.replace(extractor, fingerprint="def"))
    assert seen == [20], "that of held-out images is the same for every network"
    itself = measure_quality(made, train, train, extractor)
    assert itself["fcd_floor"] == pytest.approx(0, abs=1e-6)
    assert first["fcd_floor"] > 1
    assert itself["num_held_out"] == 30
