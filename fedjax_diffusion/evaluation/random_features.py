"""Features of a network with random weights, for images without labels."""

import functools
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from fedjax_diffusion.evaluation.classifier import (
    EXTRACT_BATCH_SIZE,
    NUM_FEATURES,
    Classifier,
    compute_features,
)
from fedjax_diffusion.evaluation.features import Extractor, fingerprint_arrays
from fedjax_diffusion.keys import seed_to_key

_SEED = 0


@functools.cache
def make_random_extractor(image_shape: tuple[int, int, int]) -> Extractor:
    """Returns the features of the small classifier's network, never trained, with one seed.

    They need no labels and no file. Random convolutions and their means see colours, edges and
    textures, and no objects: a distance in them says less than one in trained features. The same
    shape gives the same weights, and these the same fingerprint.

    Args:
      image_shape: (H, W, C).

    Source: Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", who
    use a VGG16 with random weights.
    """
    network = Classifier(num_classes=1)
    images = np.zeros((1, *image_shape), np.uint8)
    variables: Any = jax.jit(network.init)(seed_to_key(_SEED), images)
    params = jax.device_get(variables["params"])
    arrays: dict = flax.traverse_util.flatten_dict(params, sep="/")
    fingerprint = fingerprint_arrays(*(arrays[key] for key in sorted(arrays)))
    forward = functools.partial(compute_features, network, params)
    return Extractor("random", fingerprint, NUM_FEATURES, forward, EXTRACT_BATCH_SIZE)
