"""Authenticity against its definition, written as loops, and on images that are copies."""

import numpy as np
import pytest

from fedjax_diffusion.evaluation import authenticity, memorization


def plain_authenticity(real, generated):
    authentic = 0
    for image in generated:
        distances = np.linalg.norm(real - image, axis=1)
        nearest = np.argmin(distances)
        others = np.delete(real, nearest, axis=0)
        authentic += distances[nearest] > np.linalg.norm(others - real[nearest], axis=1).min()
    return authentic / len(generated)


@pytest.mark.parametrize("rows", [4096, 7])
def test_it_is_the_definition(monkeypatch, rows):
    monkeypatch.setattr(memorization, "_ROWS", rows)  # blocks change nothing
    generator = np.random.default_rng(0)
    real, generated = generator.normal(size=(31, 3)), generator.normal(0.3, 1.2, size=(23, 3))
    found = authenticity(real, generated)
    assert found == plain_authenticity(real, generated)
    assert 0 < found < 1


def test_copies_get_nothing_noise_all_and_fresh_images_what_others_get():
    generator = np.random.default_rng(1)
    real, *fresh = generator.integers(0, 256, (13, 300, 64), np.uint8)
    shares = [authenticity(real, np.concatenate(fresh[i::2])) for i in (0, 1)]
    sigma = (2 * np.prod([np.mean(shares), 1 - np.mean(shares)]) / 1800) ** 0.5
    assert abs(shares[0] - shares[1]) < 5 * sigma
    assert 0.3 < np.mean(shares) < 0.95
    assert authenticity(real, np.repeat(real, 2, axis=0)) == 0
    assert authenticity(real, np.clip(real, 1, 254)) < 0.01
    assert authenticity(real // 2, 255 - fresh[0] // 4) == 1


def test_a_single_real_image_is_refused():
    with pytest.raises(ValueError, match="two real images or more, got 1"):
        authenticity(np.zeros((1, 4)), np.zeros((3, 4)))
