"""TensorFlow 1's resize of images, with which FID's statistics were made, against NumPy."""

from functools import partial

import jax
import numpy as np
import pytest

from fedjax_diffusion.evaluation.inception.network import resize_bilinear_tf1
from tests.evaluation.inception import plain_inception

pytestmark = pytest.mark.optimized  # tolerances are those of a run's rounding


@pytest.mark.parametrize("shape", [(7, 13), (299, 299), (400, 311), (1, 2)])
def test_resize_is_linear_interpolation_from_the_first_pixel(shape):
    images = np.random.default_rng(0).integers(0, 256, (1, *shape, 2), dtype=np.uint8)
    # Places are rounded twice, to 2^-24 of at most n each; pixels differ by at most 255.
    tolerance = max(shape) * 2 * 2**-24 * 255 + 255 * 2**-21
    resized = jax.jit(resize_bilinear_tf1)(images)
    expected = plain_inception.resize(images[0].astype(np.float64))
    np.testing.assert_allclose(resized[0], expected, atol=tolerance, rtol=0)


def test_resize_by_hand():
    """The first pixel stays where it is and the last one is repeated: no half-pixel centres."""
    image = np.array([0, 80, 40], np.uint8).reshape(1, 1, 3, 1)
    resized = np.asarray(jax.jit(partial(resize_bilinear_tf1, size=6))(image))[0, :, :, 0]
    np.testing.assert_array_equal(resized, [[0, 40, 80, 60, 40, 40]] * 6)
