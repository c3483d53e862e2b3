"""Learning task of a run: model, noise schedule, loss, and the cost of an example."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fedjax_diffusion.diffusion import (
    LOSSES,
    ConvTable,
    Denoiser,
    DiffusionConfig,
    NoiseSchedule,
    make_schedule,
)
from fedjax_diffusion.experiment.networks import NETWORKS, ModelConfig
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.planning.workload import count_training_flops
from fedjax_diffusion.quantization.blocks import check_tensors
from fedjax_diffusion.types import Key, LossFn, Params


class Task(NamedTuple):
    """Network, noise schedule and loss, with the cost of an example.

    Attributes:
      denoiser: the network.
      schedule: of T steps.
      make_loss: ``make_loss(label_dropout) -> LossFn``, with labels if the network takes them;
        ``label_dropout`` in [0, 1] may be traced.
      count_flops: ``count() -> float``, FLOPs of training on one example; counts once.
      find_shapes: ``find() -> params``, their shapes and dtypes; traces the network once.
    """

    denoiser: Denoiser
    schedule: NoiseSchedule
    make_loss: Callable[[Any], LossFn]
    count_flops: Callable[[], float]
    find_shapes: Callable[[], Params]


def make_task(
    model: ModelConfig,
    diffusion: DiffusionConfig,
    image_shape: tuple[int, int, int],
    *,
    conv: str | ConvTable = "stock",
    dtype: Any = jnp.float32,
    remat: bool = False,
) -> Task:
    """Returns the task of learning to denoise images of one shape.

    Args:
      model: settings of a network in ``NETWORKS``.
      diffusion: the forward process.
      image_shape: (H, W, C).
      conv: lowering of the convolutions, see ``make_denoiser``.
      dtype: of the network's computation.
      remat: recompute activations for the gradient.

    Raises:
      ValueError: the model does not fit the images, or a setting is out of range.

    Guarantees:
      ``count_flops`` does not depend on ``conv``, ``dtype``, ``remat`` or the machine: it counts
      the plain loss, without labels, with stock convolutions in float32.
    """
    make = functools.partial(NETWORKS[model.name].make, model, image_shape)
    denoiser = make(conv=conv, dtype=dtype, remat=remat)
    schedule = make_schedule(diffusion.name, diffusion.num_steps)
    loss = LOSSES[diffusion.loss]

    def make_loss(label_dropout: Any) -> LossFn:
        rate = None if denoiser.num_classes is None else label_dropout
        return functools.partial(loss, denoiser.apply, schedule, label_dropout=rate)

    @functools.cache
    def count_flops() -> float:
        counted = make(conv="stock", dtype=jnp.float32, remat=False)
        loss_fn: LossFn = functools.partial(loss, counted.apply, schedule)
        return count_training_flops(loss_fn, find_shapes(), image_shape)

    @functools.cache
    def find_shapes() -> Params:
        def init(key: Key) -> Params:
            params = denoiser.init(key)
            check_tensors(params)
            return params

        return jax.eval_shape(init, seed_to_key(0))

    return Task(denoiser, schedule, make_loss, count_flops, find_shapes)
