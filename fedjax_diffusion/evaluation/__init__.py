"""Quality of images: features, and distances between sets of them."""

from fedjax_diffusion.evaluation.cache import keep_arrays
from fedjax_diffusion.evaluation.classifier import Classifier, make_classifier_extractor
from fedjax_diffusion.evaluation.distances import MIN_SAMPLES, frechet_distance, kernel_distance
from fedjax_diffusion.evaluation.features import Extractor, fingerprint_arrays
from fedjax_diffusion.evaluation.inception.features import make_inception_extractor
from fedjax_diffusion.evaluation.manifold import precision_recall
from fedjax_diffusion.evaluation.memorization import authenticity
from fedjax_diffusion.evaluation.random_features import make_random_extractor
from fedjax_diffusion.evaluation.statistics import (
    FeatureStatistics,
    measure_statistics,
    reference_statistics,
)

__all__ = [
    "MIN_SAMPLES",
    "Classifier",
    "Extractor",
    "FeatureStatistics",
    "authenticity",
    "fingerprint_arrays",
    "frechet_distance",
    "keep_arrays",
    "kernel_distance",
    "make_classifier_extractor",
    "make_inception_extractor",
    "make_random_extractor",
    "measure_statistics",
    "precision_recall",
    "reference_statistics",
]
