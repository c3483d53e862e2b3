"""Features of FID's Inception, with the weights that the user supplies."""

from pathlib import Path

import jax
import numpy as np

from fedjax_diffusion.evaluation.features import Extractor
from fedjax_diffusion.evaluation.inception.network import (
    NUM_FEATURES,
    Inception,
    InceptionActivations,
)
from fedjax_diffusion.evaluation.inception.weights import read_inception_weights
from fedjax_diffusion.types import Array

_BATCH_SIZE = 32


def make_inception_extractor(path: str | Path) -> Extractor:
    """Returns the 2,048 features that FID is measured in.

    Args:
      path: of the weights, ``.pth`` or ``.npz``. With any other file than the well-known one the
        extractor is called ``"other_inception"``: its distances are no FIDs.

    Raises:
      ValueError: the file is not there, damaged, or of another network.
    """
    weights = read_inception_weights(path)
    apply = jax.jit(Inception().apply)

    def forward(images: np.ndarray) -> Array:
        activations: InceptionActivations = apply(weights.variables, images)
        return activations.features

    name = "inception" if weights.is_fid else "other_inception"
    return Extractor(name, weights.sha256[:16], NUM_FEATURES, forward, _BATCH_SIZE)
