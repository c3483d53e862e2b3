"""How good images are: distances from real ones, in the features of an extractor."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fedjax_diffusion.data import ImageDataset
from fedjax_diffusion.evaluation import (
    MIN_SAMPLES,
    Extractor,
    authenticity,
    fingerprint_arrays,
    frechet_distance,
    keep_arrays,
    kernel_distance,
    make_classifier_extractor,
    make_inception_extractor,
    measure_statistics,
    precision_recall,
    reference_statistics,
)

DISTANCE_NAMES = {
    "inception": ("fid", "kid"),
    "other_inception": ("frechet_inception_other_weights", "kernel_inception_other_weights"),
    "classifier": ("fcd", "kcd"),
}
"""What the Fréchet and the kernel distance are called, by extractor: FID is one network's alone."""

MEASURE_VERSION = 2
"""Changes when the same model would get other numbers: then they are measured again."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How the quality of images is measured.

    Attributes:
      num_samples: images drawn, >= 20.
      inception_weights: a file with the weights of the 2015 Inception network, .pth or .npz; None:
        a small classifier trained on the same data takes its place, and distances are named for it.
      held_out_split: of the data set, real images whose distance is shown beside; None: not shown.

    Raises:
      ValueError: a number below 20.
    """

    num_samples: int
    inception_weights: str | None = None
    held_out_split: str | None = "test"

    def __post_init__(self):
        if self.num_samples < MIN_SAMPLES:
            raise ValueError(
                f"evaluation.num_samples must be at least {MIN_SAMPLES}, got {self.num_samples}"
            )


def make_extractor(config: EvaluationConfig, dataset: ImageDataset) -> Extractor:
    """Returns what turns images into features.

    Raises:
      ValueError: the weights cannot be read, or there are no labels to train a classifier on.
    """
    if config.inception_weights is not None:
        return make_inception_extractor(config.inception_weights)
    return make_classifier_extractor(dataset)


def measure_quality(
    images: np.ndarray,
    dataset: ImageDataset,
    held_out: ImageDataset | None,
    extractor: Extractor,
    labels: np.ndarray | None = None,
) -> dict[str, Any]:
    """Returns what is known of the quality of images, against all images of a data set.

    Args:
      images: uint8 [N, H, W, C].
      dataset: the real ones.
      held_out: other real ones, whose distance is shown as ``_floor``. Distances of few images are
        larger: it is a floor for that many.
      extractor: of features.
      labels: int [N], the classes that the images were asked to be of; None: of none.

    Returns:
      The Fréchet and the kernel distance, each under its name, with ``_floor`` where there is one;
      precision and recall, of as many images on both sides; authenticity, of held-out images too;
      sample counts; name and fingerprint of the extractor; of a classifier the share of held-out
      images that it names rightly, and of images that it names as they were asked for.
    """
    frechet, kernel = DISTANCE_NAMES[extractor.name]
    features = extractor.extract(images)
    real_features = extractor.extract(spread(dataset.images, min(len(images), len(dataset.images))))
    real = reference_statistics(extractor, dataset.images)
    kernel_mean, kernel_error = kernel_distance(real_features, features)
    manifold = spread(features, len(real_features))
    precision, recall = precision_recall(real_features, manifold)
    quality = {
        frechet: frechet_distance(measure_statistics([features]), real),
        kernel: kernel_mean,
        f"{kernel}_standard_error": kernel_error,
        "precision": precision,
        "recall": recall,
        "num_precision_recall": len(manifold),
        "authenticity": authenticity(_flatten(dataset.images), _flatten(images)),
        "num_samples": len(images),
        "num_real": len(dataset.images),
        "extractor": extractor.name,
        "extractor_fingerprint": extractor.fingerprint,
        "measure_version": MEASURE_VERSION,
        "data": dataset.name,
    }
    if labels is not None and extractor.predict_labels is not None:
        quality["label_agreement"] = float((extractor.predict_labels(features) == labels).mean())
    if held_out is None:
        return quality
    return quality | _measure_held_out(held_out, dataset, extractor)


def _measure_held_out(
    held_out: ImageDataset, dataset: ImageDataset, extractor: Extractor
) -> dict[str, Any]:
    """Returns what other real images score."""
    frechet, _ = DISTANCE_NAMES[extractor.name]
    quality: dict[str, Any] = {}
    if extractor.predict_labels is None:
        statistics = reference_statistics(extractor, held_out.images)
    else:  # small, and its features are needed anyway
        features = extractor.extract(held_out.images)
        statistics = measure_statistics([features])
        predicted = extractor.predict_labels(features)
        quality["classifier_accuracy"] = float((predicted == held_out.labels).mean())
    real = reference_statistics(extractor, dataset.images)
    quality[f"{frechet}_floor"] = frechet_distance(statistics, real)
    quality["authenticity_held_out"] = _reference_authenticity(dataset.images, held_out.images)
    quality["num_held_out"] = len(held_out.images)
    return quality


def _reference_authenticity(real: np.ndarray, held_out: np.ndarray) -> float:
    """Returns the authenticity of held-out images, kept in the user's cache folder."""

    def measure() -> dict[str, np.ndarray]:
        return {"share": np.array(authenticity(_flatten(real), _flatten(held_out)))}

    kept = keep_arrays(f"authenticity_{fingerprint_arrays(real, held_out)}", measure)
    return float(kept["share"])


def _flatten(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def spread(items: np.ndarray, number: int) -> np.ndarray:
    """Returns ``number`` items, evenly taken, as files may be sorted by class; more, some twice.

    >>> spread(np.array([3, 3, 5, 7]), 2), spread(np.array([3, 3, 5, 7]), 8)
    (array([3, 7]), array([3, 3, 3, 3, 5, 5, 7, 7]))
    """
    places = (np.arange(number) + 0.5) * len(items) / number
    return items[places.astype(int)]
