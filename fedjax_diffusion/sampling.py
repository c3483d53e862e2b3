"""Drawing images from a trained model."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from fedjax_diffusion.data import images_to_uint8
from fedjax_diffusion.diffusion import SAMPLERS, DenoiseFn, Denoiser, NoiseSchedule
from fedjax_diffusion.keys import Stream, seed_to_key, stream_key
from fedjax_diffusion.types import Array, Key, Params

_BATCH = 64


@dataclass(frozen=True)
class SamplingConfig:
    """How and when images are drawn.

    Attributes:
      every_rounds: a grid is drawn after every so many rounds, >= 1, and after the last one.
      num_samples: images in it, >= 1.
      sampler: a key of ``SAMPLERS``.
      num_steps: of ``ddim``, in 1..T; None: all T.

    Raises:
      ValueError: a value outside of these.
    """

    every_rounds: int
    num_samples: int
    sampler: str
    num_steps: int | None = None

    def __post_init__(self):
        if self.sampler not in SAMPLERS:
            names = ", ".join(SAMPLERS)
            raise ValueError(f"sampling.sampler must be one of {names}, got {self.sampler!r}")
        for name in ("every_rounds", "num_samples", "num_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"sampling.{name} must be at least 1, got {value}")


DrawSamples = Callable[[Key, Params, int], np.ndarray]
"""``draw(run_key, params, counter) -> uint8 [num_samples, H, W, C]``."""


def make_draw_samples(
    config: SamplingConfig,
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    image_shape: tuple[int, ...],
) -> DrawSamples:
    """Returns a function that draws ``config.num_samples`` images, in batches of one compiled size.

    ``counter`` (a round) tells one drawing of a run from another. The same run key, counter and
    model give the same images.

    Raises:
      ValueError: ``num_steps`` does not suit the sampler or the schedule.
    """
    sampler = SAMPLERS[config.sampler]
    batch_size = min(_BATCH, config.num_samples)

    def draw_images(key: Key, denoise: DenoiseFn) -> Array:
        shape = (batch_size, *image_shape)
        return images_to_uint8(sampler(key, denoise, schedule, shape, num_steps=config.num_steps))

    # Traced once without a network: a num_steps that does not fit is refused before any training.
    jax.eval_shape(lambda key: draw_images(key, lambda x_t, t: x_t), seed_to_key(0))

    @jax.jit
    def draw_batch(key: Key, params: Params) -> Array:
        return draw_images(key, lambda x_t, t: denoiser.apply(params, x_t, t))

    def draw(run_key: Key, params: Params, counter: int) -> np.ndarray:
        params = jax.device_put(params, jax.local_devices()[0])
        num_batches = -(-config.num_samples // batch_size)
        batches = [
            np.asarray(draw_batch(stream_key(run_key, Stream.SAMPLE, counter, i), params))
            for i in range(num_batches)
        ]
        return np.concatenate(batches)[: config.num_samples]

    return draw
