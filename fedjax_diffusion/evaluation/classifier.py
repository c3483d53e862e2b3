"""A small classifier trained on the run's data, whose features replace Inception's."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from fedjax_diffusion.data import ImageDataset
from fedjax_diffusion.evaluation.cache import keep_arrays
from fedjax_diffusion.evaluation.features import Extractor, fingerprint_arrays
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.types import Array, Params

NUM_FEATURES = 64
_RECIPE = 1
"""To be incremented with every change below that changes the weights."""
_BATCH_SIZE = 64
_LEARNING_RATE = 2e-3
EXTRACT_BATCH_SIZE = 256


class Classifier(nn.Module):
    """Two 3x3 convolutions per level, mean over the image, one hidden layer with the features.

    Attributes:
      num_classes: of the labels.
    """

    num_classes: int

    @nn.compact
    def __call__(self, images: Array) -> tuple[Array, Array]:
        """Returns logits [B, num_classes] and features >= 0 [B, 64] of uint8 [B, H, W, C]."""
        h = images.astype(jnp.float32) / 127.5 - 1
        channels = 32
        while True:
            for _ in range(2):
                h = nn.relu(nn.Conv(channels, (3, 3))(h))
            if min(h.shape[1:3]) < 8 or channels == 128:
                break
            h, channels = nn.avg_pool(h, (2, 2), (2, 2)), 2 * channels
        features = nn.relu(nn.Dense(NUM_FEATURES)(h.mean(axis=(1, 2))))
        return nn.Dense(self.num_classes)(features), features


def make_classifier_extractor(
    dataset: ImageDataset, num_steps: int | None = None, shared: Path | None = None
) -> Extractor:
    """Returns the features of a classifier of this data, which is trained on first use.

    Fréchet distances in them are ``fcd``, Fréchet classifier distance: comparable for the same
    fingerprint, never with an FID. The weights are stored in the user's cache folder. Another
    machine, or another device, may train other weights from the same data.

    Args:
      dataset: images and labels of two classes or more.
      num_steps: training steps; None: 1,500 for small data, up to 3,000.
      shared: folder of weights that come first, as in ``keep_arrays``.

    Raises:
      ValueError: the data have no labels.
    """
    if dataset.num_classes < 2:
        raise ValueError(f"data set {dataset.name!r} has no labels to train a classifier on")
    if num_steps is None:
        num_steps = min(3000, max(1500, len(dataset.images) // 8))
    data = fingerprint_arrays(dataset.images, dataset.labels)
    name = f"classifier_{_RECIPE}_{num_steps}_{dataset.num_classes}_{data}"
    arrays = keep_arrays(name, functools.partial(_train, dataset, num_steps), shared)
    params = flax.traverse_util.unflatten_dict(dict(arrays), sep="/")
    forward = functools.partial(compute_features, Classifier(dataset.num_classes), params)

    def predict_labels(features: np.ndarray) -> np.ndarray:
        """Returns the classes that the last layer predicts from features [N, D], int [N]."""
        head = params["Dense_1"]
        return (features @ head["kernel"] + head["bias"]).argmax(axis=1)

    fingerprint = fingerprint_arrays(*(arrays[key] for key in sorted(arrays)))
    return Extractor(
        "classifier", fingerprint, NUM_FEATURES, forward, EXTRACT_BATCH_SIZE, predict_labels
    )


@functools.partial(jax.jit, static_argnums=0)
def compute_features(classifier: Classifier, params: Params, images: Array) -> Array:
    """Returns features [B, 64]; compiled once for all extractors of a shape."""
    outputs: Any = classifier.apply({"params": params}, images)
    return outputs[1]


def _train(dataset: ImageDataset, num_steps: int) -> Mapping[str, np.ndarray]:
    """Returns parameters by path, after Adam with a cosine schedule."""
    classifier = Classifier(dataset.num_classes)
    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, num_steps))
    params: Any = jax.jit(classifier.init)(seed_to_key(0), dataset.images[:1])["params"]

    def loss_fn(params: Params, images: Array, labels: Array) -> Array:
        logits: Any = classifier.apply({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits[0], labels).mean()

    # A Python loop of compiled steps: in a compiled loop XLA's convolutions are slow.
    @jax.jit
    def step(params: Params, state: Any, images: Array, labels: Array) -> tuple[Params, Any]:
        updates, state = optimizer.update(jax.grad(loss_fn)(params, images, labels), state)
        return optax.apply_updates(params, updates), state

    generator, state = np.random.default_rng(0), jax.jit(optimizer.init)(params)
    for _ in tqdm(range(num_steps), "training a classifier", unit="step", disable=None):
        chosen = generator.integers(0, len(dataset.images), _BATCH_SIZE)
        images = _shift(generator, dataset.images[chosen])
        params, state = step(params, state, images, dataset.labels[chosen])
    flat: dict = flax.traverse_util.flatten_dict(params, sep="/")
    return {path: np.asarray(leaf) for path, leaf in flat.items()}


def _shift(generator: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Returns images shifted by up to an eighth of their size, with repeated edges."""
    num_images, height, width, _ = images.shape
    places = []
    for size in (height, width):
        offsets = generator.integers(-(size // 8), size // 8 + 1, (num_images, 1))
        places.append(np.clip(np.arange(size) + offsets, 0, size - 1))
    rows, columns = places
    return images[np.arange(num_images)[:, None, None], rows[:, :, None], columns[:, None, :]]
