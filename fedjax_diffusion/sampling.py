"""Drawing images from a trained model."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from fedjax_diffusion.data import images_to_uint8
from fedjax_diffusion.diffusion import SAMPLERS, DenoiseFn, Denoiser, NoiseSchedule
from fedjax_diffusion.keys import Stream, seed_to_key, step_keys, stream_key
from fedjax_diffusion.types import Array, Key, Params

_BATCH = 32
"""Images at once on a device; a number of its own, so that images do not depend on the devices."""


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
    mesh: Mesh | None = None,
) -> DrawSamples:
    """Returns a function that draws ``config.num_samples`` images, in batches of one compiled size.

    ``counter`` (a round) tells one drawing of a run from another. The same run key, counter and
    model give the same images, on any number of devices.

    Args:
      config: what to draw, and how.
      denoiser: the network.
      schedule: of T steps.
      image_shape: (H, W, C).
      mesh: 1-D, of devices that share the batches out; None: one device.

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

    def draw_batches(keys: Key, params: Params) -> Array:
        def draw_batch(key: Key) -> Array:
            return draw_images(key, lambda x_t, t: denoiser.apply(params, x_t, t))

        return jax.lax.map(draw_batch, keys)

    num_batches, num_devices = -(-config.num_samples // batch_size), 1
    if mesh is not None:
        (axis,), num_devices = mesh.axis_names, mesh.size
        specs = {"in_specs": (P(axis), P()), "out_specs": P(axis)}
        draw_batches = jax.shard_map(draw_batches, mesh=mesh, check_vma=False, **specs)
    draw_batches = jax.jit(draw_batches)
    counters = jnp.arange(-(-num_batches // num_devices) * num_devices)

    def draw(run_key: Key, params: Params, counter: int) -> np.ndarray:
        key = stream_key(run_key, Stream.SAMPLE, counter)
        batches = np.asarray(draw_batches(step_keys(key, counters), jax.device_get(params)))
        return batches.reshape(-1, *image_shape)[: config.num_samples]

    return draw
