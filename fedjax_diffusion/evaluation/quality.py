"""Quality of images: distances from real images in the features of an extractor."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

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
    make_random_extractor,
    measure_statistics,
    precision_recall,
    reference_statistics,
)
from fedjax_diffusion.values import Count, Name, PathText, Range, check_fields

_NumSamples: TypeAlias = Annotated[int, Range(MIN_SAMPLES, 1_000_000)]
DISTANCE_NAMES = {
    "inception": ("fid", "kid"),
    "other_inception": ("frechet_inception_other_weights", "kernel_inception_other_weights"),
    "classifier": ("fcd", "kcd"),
    "random": ("frechet_random_features", "kernel_random_features"),
}
"""Names of the Fréchet and the kernel distance by extractor; only one network gives FID."""

MEASURE_VERSION = 2
"""To be incremented if the same model would get other numbers: they are then measured again."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of the measurement of image quality.

    Attributes:
      num_samples: images drawn from the run's model, in 20..1,000,000.
      inception_weights: a file with the weights of the 2015 Inception network, .pth or .npz; None:
        a small classifier trained on the same data replaces it and names the distances; for images
        without labels, a network with random weights.
      held_out_split: split of other real images, whose distance is a reference; None: none.
      every_rounds: rounds of a run from one measurement to the next, >= 1; also after the last.
        None: a run measures nothing.
      num_samples_along: images drawn for each of them, in 20..1,000,000.

    Raises:
      ValueError: a value is out of range.
    """

    num_samples: _NumSamples
    inception_weights: PathText | None = None
    held_out_split: Name | None = "test"
    every_rounds: Count | None = None
    num_samples_along: _NumSamples = 500

    def __post_init__(self):
        check_fields(self, "evaluation")

    def describe_final(self) -> dict[str, Any]:
        """Returns the settings that matter for a finished run."""
        apart = ("every_rounds", "num_samples_along")
        return {name: value for name, value in asdict(self).items() if name not in apart}


def make_extractor(
    config: EvaluationConfig, dataset: ImageDataset, shared: Path | None = None
) -> Extractor:
    """Returns the extractor of a run's features.

    That is the Inception network if there are weights, else a classifier trained on the labels,
    else, for images without labels, a network with random weights.

    Args:
      config: settings of the measurement.
      dataset: the real images.
      shared: folder of the weights of all runs that are compared, as in ``keep_arrays``; the
        Inception network's are not stored there.

    Raises:
      ValueError: the weights cannot be read.
    """
    if config.inception_weights is not None:
        return make_inception_extractor(config.inception_weights)
    if dataset.num_classes < 2:
        return make_random_extractor(dataset.images.shape[1:], shared)
    return make_classifier_extractor(dataset, shared=shared)


def measure_quality(
    images: np.ndarray,
    dataset: ImageDataset,
    held_out: ImageDataset | None,
    extractor: Extractor,
    labels: np.ndarray | None = None,
) -> dict[str, Any]:
    """Returns measures of the quality of images relative to all images of a data set.

    Args:
      images: uint8 [N, H, W, C].
      dataset: the real images.
      held_out: other real images, whose distance is stored as ``_floor``. Distances of few images
        are larger: it is a floor for that number of images.
      extractor: of features.
      labels: int [N], the requested classes of the images; None: no classes.

    Returns:
      The Fréchet and the kernel distance, each under its name, with ``_floor`` if there is one;
      precision and recall, with equally many images in both sets; authenticity, also of held-out
      images; sample counts; name and fingerprint of the extractor; for a classifier its accuracy on
      held-out images, and the share of images with the requested class.
    """
    features = extractor.extract(images)
    quality = {
        **measure_distances(features, dataset, extractor),
        "num_precision_recall": min(len(images), len(dataset.images)),
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


def measure_distances(
    features: np.ndarray, dataset: ImageDataset, extractor: Extractor
) -> dict[str, float]:
    """Returns the measures of images that depend on their features alone.

    Args:
      features: float32 [N, D], of the images.
      dataset: the real images.
      extractor: of the features.

    Returns:
      The Fréchet and the kernel distance, each under its name, precision and recall.
    """
    frechet, kernel = DISTANCE_NAMES[extractor.name]
    real_images = spread(dataset.images, min(len(features), len(dataset.images)))
    real_features = extractor.extract(real_images)
    real = reference_statistics(extractor, dataset.images)
    kernel_mean, kernel_error = kernel_distance(real_features, features)
    precision, recall = precision_recall(real_features, spread(features, len(real_features)))
    return {
        frechet: frechet_distance(measure_statistics([features]), real),
        kernel: kernel_mean,
        f"{kernel}_standard_error": kernel_error,
        "precision": precision,
        "recall": recall,
    }


def _measure_held_out(
    held_out: ImageDataset, dataset: ImageDataset, extractor: Extractor
) -> dict[str, Any]:
    """Returns the measures of held-out real images, stored in the user's cache folder."""
    frechet, _ = DISTANCE_NAMES[extractor.name]

    def measure() -> dict[str, np.ndarray]:
        numbers: dict[str, float] = {}
        if extractor.predict_labels is None:
            statistics = reference_statistics(extractor, held_out.images)
        else:  # a small set, whose features are needed anyway
            features = extractor.extract(held_out.images)
            statistics = measure_statistics([features])
            predicted = extractor.predict_labels(features)
            numbers["classifier_accuracy"] = float((predicted == held_out.labels).mean())
        real = reference_statistics(extractor, dataset.images)
        numbers[f"{frechet}_floor"] = frechet_distance(statistics, real)
        numbers["authenticity_held_out"] = _reference_authenticity(dataset.images, held_out.images)
        return {name: np.array(number) for name, number in numbers.items()}

    network = f"{extractor.name}_{extractor.fingerprint}"
    data = fingerprint_arrays(dataset.images, held_out.images, held_out.labels)
    kept = keep_arrays(f"held_out_{MEASURE_VERSION}_{network}_{data}", measure)
    return {name: float(number) for name, number in kept.items()} | {
        "num_held_out": len(held_out.images)
    }


def _reference_authenticity(real: np.ndarray, held_out: np.ndarray) -> float:
    """Returns the authenticity of held-out images, stored for all extractors alike."""

    def measure() -> dict[str, np.ndarray]:
        return {"share": np.array(authenticity(_flatten(real), _flatten(held_out)))}

    kept = keep_arrays(f"authenticity_{fingerprint_arrays(real, held_out)}", measure)
    return float(kept["share"])


def _flatten(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def spread(items: np.ndarray, number: int) -> np.ndarray:
    """Returns ``number`` evenly spaced items, as files may be sorted by class; items may repeat.

    >>> spread(np.array([3, 3, 5, 7]), 2), spread(np.array([3, 3, 5, 7]), 8)
    (array([3, 7]), array([3, 3, 3, 3, 5, 5, 7, 7]))
    """
    places = (np.arange(number) + 0.5) * len(items) / number
    return items[places.astype(int)]
