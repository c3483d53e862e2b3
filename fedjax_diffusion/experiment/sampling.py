"""Sampling of images from a trained model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fedjax_diffusion.data import images_to_uint8
from fedjax_diffusion.diffusion import (
    SAMPLERS,
    DenoiseFn,
    Denoiser,
    GuidanceScale,
    NoiseSchedule,
    guide,
)
from fedjax_diffusion.host.platforms import is_out_of_memory
from fedjax_diffusion.keys import Stream, seed_to_key, step_keys, stream_key
from fedjax_diffusion.types import Array, Key, Params
from fedjax_diffusion.values import Count, OneOf, Probability, Range, check_fields

SAMPLING_BATCH = 32
"""Number of images per key; constant, so that images do not depend on the devices."""


@dataclass(frozen=True)
class SamplingConfig:
    """Settings of the sampler, and the rounds after which images are drawn.

    Attributes:
      every_rounds: rounds from one grid of images to the next, >= 1; also drawn after the last.
      num_samples: images in a grid, in 1..1,000,000.
      sampler: a key of ``SAMPLERS``.
      num_steps: of ``ddim``, in 1..T; None: all T.
      eta: of ``ddim``, in [0, 1]: noise added per step; 0 for ``ancestral``, which adds its own.
      guidance_scale: w in [0, 1000] of ``guide``, for a model with classes; 1 for one without.
      fixed_noise: draw every grid of a run from the same noise, so that they can be compared.

    Raises:
      ValueError: a value is out of range.
    """

    every_rounds: Count
    num_samples: Annotated[int, Range(1, 1_000_000)]
    sampler: Annotated[str, OneOf(SAMPLERS)]
    num_steps: Count | None = 50
    eta: Probability = 0.0
    guidance_scale: GuidanceScale = 1.0
    fixed_noise: bool = False

    def __post_init__(self):
        check_fields(self, "sampling")

    @property
    def batch_size(self) -> int:
        """Number of images drawn with one key."""
        return min(SAMPLING_BATCH, self.num_samples)


class DrawSamples(Protocol):
    """``draw(run_key, params, counter) -> uint8 [num_samples, H, W, C]``."""

    def __call__(
        self,
        run_key: Key,
        params: Params,
        counter: int,
        on_progress: Callable[[int], object] | None = None,
        labels: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draws images; calls ``on_progress`` now and then with the number drawn so far.

        ``labels``, int [num_samples], are the classes of the images; None: all classes in turn.
        Raises ValueError if they are invalid or the model has no classes.
        """
        ...


class SamplerProgram(NamedTuple):
    """A compiled sampler, which all runs with its settings share.

    Attributes:
      draw_batches: ``draw(keys [n], labels int32 [n, batch_size] or None, params) -> uint8
        [n * batch_size, H, W, C]``; the devices of the mesh share the n batches.
      pure_draw: the same function on one device, not compiled.
      batch_size: of images.
      num_classes: of the network; None: it has no labels.
      mesh: 1-D; None: one device.
    """

    draw_batches: Callable[[Key, Array | None, Params], Array]
    pure_draw: Callable[[Key, Array | None, Params], Array]
    batch_size: int
    num_classes: int | None
    mesh: Mesh | None


def make_sampler_program(
    config: SamplingConfig,
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    image_shape: tuple[int, ...],
    mesh: Mesh | None = None,
) -> SamplerProgram:
    """Returns the sampler of a config, which draws batches of one size.

    Args:
      config: the sampler; of ``num_samples`` only whether it is below a batch of 32 matters.
      denoiser: the network.
      schedule: of T steps.
      image_shape: (H, W, C).
      mesh: 1-D, of devices that share the batches; None: one device.

    Raises:
      ValueError: ``num_steps`` or ``eta`` does not suit the sampler or the schedule; a
        ``guidance_scale`` other than 1 for a network without classes.
    """
    num_classes = denoiser.num_classes
    _check_scale(config.guidance_scale, num_classes)
    batch_size = config.batch_size
    draw_images = _make_draw_images(config, schedule, (batch_size, *image_shape))
    pure_draw = _make_pure_draw(draw_images, denoiser, config.guidance_scale)
    draw_batches = _make_draw_batches(pure_draw, mesh)
    return SamplerProgram(draw_batches, pure_draw, batch_size, num_classes, mesh)


def make_draw_samples(
    config: SamplingConfig, program: SamplerProgram, count_batches: Callable[[], int] = lambda: 1
) -> DrawSamples:
    """Returns the function that draws ``config.num_samples`` images, in batches of one size.

    ``counter`` (a round) distinguishes the drawings of a run. Without labels, a model with classes
    draws image i of class i mod ``num_classes``.

    Args:
      config: the number of images.
      program: the sampler.
      count_batches: returns the batches per device and call, halved if they do not fit.

    Guarantees:
      The same run key, counter, model and labels give the same images, for any number of devices
      and any ``num_samples``. Below a batch of 32, or if a device draws several batches at once,
      this holds up to rounding, as XLA adds in another order.
    """
    draw_batches, _, batch_size, num_classes, mesh = program
    num_devices, placement = (1, None) if mesh is None else (mesh.size, NamedSharding(mesh, P()))

    def draw(
        run_key: Key,
        params: Params,
        counter: int,
        on_progress: Callable[[int], object] | None = None,
        labels: np.ndarray | None = None,
    ) -> np.ndarray:
        _check_labels(labels, num_classes, config.num_samples)
        key = stream_key(run_key, Stream.SAMPLE, counter)
        params = jax.device_put(jax.device_get(params), placement)

        def draw_numbers(numbers: np.ndarray) -> np.ndarray:
            asked = _label(labels, num_classes, numbers, batch_size)
            return np.asarray(draw_batches(_number_keys(key, numbers), asked, params))

        images, total = [], -(-config.num_samples // batch_size)
        for drawn in _draw_in_turn(draw_numbers, total, num_devices, count_batches):
            images.append(drawn)
            if on_progress is not None:
                on_progress(min(config.num_samples, sum(map(len, images))))
        return np.concatenate(images)[: config.num_samples]

    return draw


def _draw_in_turn(
    draw: Callable[[np.ndarray], np.ndarray],
    total: int,
    num_devices: int,
    count_batches: Callable[[], int],
) -> Iterator[np.ndarray]:
    """Yields the images of batches 0..total-1 and some more, so that all calls have equal size.

    Args:
      draw: ``draw(numbers int32 [n]) -> images``, of n batches.
      total: number of batches, >= 1.
      num_devices: devices that share a call.
      count_batches: returns the batches per device and call; halved if they do not fit.
    """
    at_once = count_batches() if total > num_devices else 1
    done, num_calls = 0, -(-total // (num_devices * at_once))
    at_once = -(-total // (num_devices * num_calls))
    while done < total:
        numbers = done + np.arange(num_devices * at_once, dtype=np.int32)
        try:
            images = draw(numbers)
        except jax.errors.JaxRuntimeError as error:
            if at_once == 1 or not is_out_of_memory(error):
                raise
            at_once //= 2
            continue
        done += len(numbers)
        yield images


_number_keys = jax.jit(step_keys)
"""Compiled: traced operation by operation it would take longer than a small batch."""
_DrawImages = Callable[[Key, DenoiseFn], Array]
"""``draw_images(key, denoise_fn) -> uint8 [B, H, W, C]``, one batch."""


def _make_draw_images(
    config: SamplingConfig, schedule: NoiseSchedule, shape: tuple[int, ...]
) -> _DrawImages:
    """Returns the config's sampler, for images of ``shape`` [B, H, W, C]."""
    sampler = SAMPLERS[config.sampler]

    def draw_images(key: Key, denoise_fn: DenoiseFn) -> Array:
        images = sampler(
            key, denoise_fn, schedule, shape, num_steps=config.num_steps, eta=config.eta
        )
        return images_to_uint8(images)

    # Traced once without a network, so that an invalid num_steps is refused before any training.
    try:
        jax.eval_shape(lambda key: draw_images(key, lambda x_t, t: x_t), seed_to_key(0))
    except ValueError as error:
        raise ValueError(f"sampling.{error}") from None
    return draw_images


def _make_pure_draw(
    draw_images: _DrawImages, denoiser: Denoiser, scale: float
) -> Callable[[Key, Array | None, Params], Array]:
    """Returns ``draw(keys [n], labels [n, B] or None, params)`` of one device."""

    def draw_batch(key: Key, labels: Array | None, params: Params) -> Array:
        if labels is None:
            return draw_images(key, lambda x_t, t: denoiser.apply(params, x_t, t))
        return draw_images(key, guide(denoiser.apply, params, labels, scale))

    def draw_on_one_device(keys: Key, labels: Array | None, params: Params) -> Array:
        if keys.shape[0] == 1:
            return draw_batch(keys[0], None if labels is None else labels[0], params)
        images = jax.vmap(draw_batch, in_axes=(0, 0, None))(keys, labels, params)
        return images.reshape(-1, *images.shape[2:])

    return draw_on_one_device


def _make_draw_batches(
    pure_draw: Callable[[Key, Array | None, Params], Array], mesh: Mesh | None
) -> Callable[[Key, Array | None, Params], Array]:
    """Returns the compiled function, the n batches split over the devices of a mesh."""
    if mesh is None:
        return jax.jit(pure_draw)
    (axis,) = mesh.axis_names
    specs = {"in_specs": (P(axis), P(axis), P()), "out_specs": P(axis)}
    return jax.jit(jax.shard_map(pure_draw, mesh=mesh, check_vma=False, **specs))


def _check_scale(scale: float, num_classes: int | None) -> None:
    if num_classes is None and scale != 1:
        raise ValueError(
            f"sampling.guidance_scale must be 1 for a model without model.num_classes, got {scale}"
        )


def _check_labels(labels: np.ndarray | None, num_classes: int | None, num_samples: int) -> None:
    if labels is None:
        return
    if num_classes is None:
        raise ValueError("labels need a model with model.num_classes, this one has none")
    if labels.shape != (num_samples,) or labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels must be {num_samples} in 0..{num_classes - 1}, got {labels.shape} in "
            f"{labels.min()}..{labels.max()}"
        )


def _label(
    labels: np.ndarray | None, num_classes: int | None, numbers: np.ndarray, batch_size: int
) -> Array | None:
    """Returns the labels of batches, int32 [n, B], repeating the given ones; None if unlabelled."""
    if num_classes is None:
        return None
    asked = np.arange(num_classes) if labels is None else labels
    places = numbers[:, None] * batch_size + np.arange(batch_size)
    return jnp.asarray(asked[places % len(asked)], jnp.int32)
