"""The clients' data on the device, and the batch of one local step of one client.

Images are stored once, as bytes, for all clients; a client is a row of padded indices. A batch is a
pure function of a key, the client's id and the local step, and all of them may be traced. So every
mapping over clients and every loop over steps draws the same batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion import keys
from fedjax_diffusion.data.dataset import ImageDataset
from fedjax_diffusion.types import Array, Batch, Key
from fedjax_diffusion.values import check_fields


@flax.struct.dataclass
class ClientData:
    """Images, labels, and the indices of each client's examples.

    Attributes:
      images: uint8 [N, H, W, C], stored once.
      labels: int32 [N].
      indices: int32 [K, N_max] into the N examples; row k holds client k's in its first
        ``num_examples[k]`` entries, then zeros.
      num_examples: int32 [K], at least 1.
    """

    images: Array
    labels: Array
    indices: Array
    num_examples: Array

    @property
    def num_clients(self) -> int:
        """Number of clients, K."""
        return self.indices.shape[0]


SLOT_MULTIPLE = 64
"""Arrays of indices are padded to a multiple of this, so that most seeds have equal shapes."""


def count_slots(num_examples: int, at_least: int = 0) -> int:
    """Returns N_max padded to a multiple of ``SLOT_MULTIPLE``, and to ``at_least``.

    >>> count_slots(318), count_slots(318, at_least=384)
    (320, 384)
    """
    return -(-max(num_examples, at_least) // SLOT_MULTIPLE) * SLOT_MULTIPLE


def make_client_data(
    dataset: ImageDataset, parts: Sequence[np.ndarray], num_slots: int | None = None
) -> ClientData:
    """Returns the data of K clients, one per index array.

    Args:
      dataset: N examples.
      parts: K arrays of indices in 0..N-1, none empty, for example from ``partition``. Clients may
        share examples.
      num_slots: length N_max of the rows of indices; more than needed changes no draw. None: the
        largest number of examples of a client.

    Raises:
      ValueError: there is no client, one is empty, or an index is outside its range.
    """
    num_examples = check_parts(dataset, parts)
    indices = np.zeros((len(parts), num_slots or num_examples.max()), np.int32)
    for row, part in zip(indices, parts, strict=True):
        row[: len(part)] = part
    # ``jnp.asarray`` would compile a program for each shape; without a copy, memory may be shared.
    arrays = (dataset.images.copy(), dataset.labels.copy(), indices, num_examples)
    return ClientData(*jax.device_put(arrays))


def check_parts(dataset: ImageDataset, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the number of examples of each client, int32 [K].

    Raises:
      ValueError: there is no client, one is empty, or an index is outside its range.
    """
    if not parts:
        raise ValueError("parts must hold at least one client, got none")
    num_examples = np.array([len(part) for part in parts], np.int32)
    if not num_examples.all():
        raise ValueError(f"client {int(np.argmin(num_examples))} must have an example, it has none")
    smallest, largest = min(map(np.min, parts)), max(map(np.max, parts))
    if smallest < 0 or largest >= len(dataset.labels):
        raise ValueError(
            f"indices must lie in 0..{len(dataset.labels) - 1}, got {smallest}..{largest}"
        )
    return num_examples


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of the training images.

    Attributes:
      random_flip: mirror each drawn image left to right with probability 1/2.

    Raises:
      ValueError: a value has the wrong type.
    """

    random_flip: bool

    def __post_init__(self):
        check_fields(self, "augmentation")


def draw_batch(
    key: Key,
    data: ClientData,
    row: Array | int,
    step: Array | int,
    *,
    batch_size: int,
    random_flip: bool = False,
) -> Batch:
    """Returns the batch of local step ``step`` of one client, drawn without replacement.

    The local steps of a round read one endless stream of passes over the client's n examples; each
    pass is a new uniform permutation. Entry i of step s is position ``p = s * B + i`` of that
    stream: pass ``p // n``, place ``p % n``. With ``functools.partial`` over the options this is a
    ``types.BatchFn``.

    Args:
      key: [], the client's key of this round (stream ``BATCH``); the same in all steps of the
        round.
      data: of all clients, or of a cohort.
      row: int32 [], the client's row in the data; may be traced.
      step: int32 [], the local step, with ``(step + 1) * B < 2**31``; may be traced.
      batch_size: B >= 1; a batch larger than the client's data contains examples several times.
      random_flip: mirror each image left to right with probability 1/2.

    Returns:
      images float32 [B, H, W, C] in [-1, 1] and labels int32 [B].

    Guarantees:
      After any number of positions p each example has been drawn ``floor(p / n)`` or
      ``ceil(p / n)`` times. The examples and their order are the same in a loop, under ``vmap``
      and in a ``scan``.
    """
    chex.assert_shape([row, step], ())
    order_key, flip_key = jax.random.split(key)
    num_examples = data.num_examples[row]
    positions = step * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
    passes, places = positions // num_examples, positions % num_examples

    def permute(pass_number: Array) -> Array:
        pass_key = keys.step_key(order_key, pass_number)
        return _padded_permutation(pass_key, num_examples, data.indices.shape[1])

    # A pass that is neither the first nor the last of the batch is completely inside it, so its
    # order does not matter: two permutations are enough for all passes.
    first, last = permute(passes[0]), permute(passes[-1])
    slots = jnp.where(passes == passes[0], first[places], last[places])
    examples = data.indices[row, slots]
    images = uint8_to_images(data.images[examples])
    if random_flip:
        half = jnp.float32(0.5)
        is_flipped = jax.random.bernoulli(keys.step_key(flip_key, step), half, (batch_size,))
        images = jnp.where(is_flipped[:, None, None, None], images[:, :, ::-1], images)
    return Batch(images=images, labels=data.labels[examples])


def uint8_to_images(pixels: Array) -> Array:
    """Returns uint8 pixels as float32 images in [-1, 1], any shape: ``x = pixel / 127.5 - 1``."""
    return pixels.astype(jnp.float32) / 127.5 - 1.0


def images_to_uint8(images: Array) -> Array:
    """Returns images in [-1, 1] as uint8 pixels, any shape; rounded, values outside clipped.

    The exact inverse of ``uint8_to_images`` on its 256 values.

    >>> images_to_uint8(jnp.array([-1.0, 0.0, 1.0, 1.5])).tolist()
    [0, 128, 255, 255]
    """
    return jnp.clip(jnp.round((images + 1.0) * 127.5), 0, 255).astype(jnp.uint8)


def _padded_permutation(key: Key, num_examples: Array, num_slots: int) -> Array:
    """Returns int32 [num_slots]: a uniform permutation of 0..num_examples-1, then the padding.

    Sorts 31 random bits per slot; a leading one puts the padding last. Equal bits keep their order,
    a bias of less than 2**-31 per pair.
    """
    is_padding = jnp.arange(num_slots, dtype=jnp.uint32) >= num_examples.astype(jnp.uint32)
    bits = jax.random.bits(key, (num_slots,), jnp.uint32) >> 1
    return jnp.argsort(bits | (is_padding.astype(jnp.uint32) << 31))
