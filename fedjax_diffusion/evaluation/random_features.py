"""Features of a network with random weights, for images without labels."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from fedjax_diffusion.evaluation.cache import keep_arrays
from fedjax_diffusion.evaluation.classifier import (
    EXTRACT_BATCH_SIZE,
    NUM_FEATURES,
    Classifier,
    compute_features,
)
from fedjax_diffusion.evaluation.features import Extractor, fingerprint_arrays
from fedjax_diffusion.keys import seed_to_key

_NETWORK = Classifier(num_classes=1)
_SEED = 0
_RECIPE = 1
"""To be incremented with every change that changes the weights."""


def make_random_extractor(
    image_shape: tuple[int, int, int], shared: Path | None = None
) -> Extractor:
    """Returns the features of the small classifier's network, never trained, with one seed.

    They need no labels and no file. Random convolutions and their means see colours, edges and
    textures, and no objects: a distance in them says less than one in trained features. The same
    shape gives the same weights, but for last digits on another kind of device.

    Args:
      image_shape: (H, W, C).
      shared: folder of weights that come first, as in ``keep_arrays``.

    Source: Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", who
    use a VGG16 with random weights.
    """
    name = f"random_{_RECIPE}_{'x'.join(map(str, image_shape))}"
    arrays = keep_arrays(name, functools.partial(_draw, image_shape), shared)
    params = flax.traverse_util.unflatten_dict(dict(arrays), sep="/")
    fingerprint = fingerprint_arrays(*(arrays[key] for key in sorted(arrays)))
    forward = functools.partial(compute_features, _NETWORK, params)
    return Extractor("random", fingerprint, NUM_FEATURES, forward, EXTRACT_BATCH_SIZE)


@functools.cache
def _draw(image_shape: tuple[int, int, int]) -> Mapping[str, np.ndarray]:
    """Returns parameters by path."""
    images = np.zeros((1, *image_shape), np.uint8)
    variables: Any = jax.jit(_NETWORK.init)(seed_to_key(_SEED), images)
    flat: dict = flax.traverse_util.flatten_dict(jax.device_get(variables["params"]), sep="/")
    return flat
