"""Features of FID's Inception, with weights from the user."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from fedjax_diffusion.evaluation.features import Extractor
from fedjax_diffusion.evaluation.inception.network import NUM_FEATURES, Inception
from fedjax_diffusion.evaluation.inception.weights import read_inception_weights
from fedjax_diffusion.types import Array, PyTree

_BATCH_SIZE = 32


def make_inception_extractor(path: str | Path) -> Extractor:
    """Returns the extractor of the 2,048 features of FID.

    Args:
      path: of the weights, ``.pth`` or ``.npz``. For any file except the well-known one, the
        extractor's name is ``"other_inception"``: its distances are not FIDs.

    Raises:
      ValueError: the file is missing, damaged, or of another network.
    """
    weights = read_inception_weights(path)

    def forward(images: np.ndarray) -> Array:
        return _compute_features(weights.variables, images)

    name = "inception" if weights.is_fid else "other_inception"
    return Extractor(name, weights.sha256[:16], NUM_FEATURES, forward, _BATCH_SIZE)


@jax.jit
def _compute_features(variables: PyTree, images: Array) -> Array:
    """Returns features [B, 2048]; compiled once for all extractors."""
    activations: Any = Inception().apply(variables, images)
    return activations.features
