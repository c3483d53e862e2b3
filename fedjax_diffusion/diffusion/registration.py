"""Registration of a user's own samplers and training losses."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fedjax_diffusion.diffusion.losses import LOSSES, DiffusionLoss
from fedjax_diffusion.diffusion.samplers import SAMPLERS, Sampler
from fedjax_diffusion.diffusion.schedule import linear_schedule
from fedjax_diffusion.host.own_names import add_name, check_names, digest_source, explain_trial
from fedjax_diffusion.host.platforms import has_started
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.types import Array, Batch, Key, Params

_SHAPE = (2, 4, 4, 1)
_NUM_STEPS = 1000


def register_sampler(name: str, sampler: Sampler) -> None:
    """Adds a sampler of your own, for ``sampling.sampler``.

    As soon as JAX has started, it is traced for two small images.

    Args:
      name: letters, digits and underscores, beginning with a letter.
      sampler: ``sampler(key, denoise_fn, schedule, shape, *, num_steps, eta)`` returns images in
        [-1, 1], float32 ``shape``; ``num_steps`` may be None. It refuses what it does not take with
        a ValueError that begins with the name of the argument.

    Raises:
      ValueError: the name is taken, JAX cannot trace the sampler, or it returns another shape.
    """
    digest = digest_source(sampler)
    add_name(SAMPLERS, "sampler", name, sampler, digest, lambda: _check_sampler(name, sampler))
    if has_started():
        check_names()


def register_loss(name: str, loss: DiffusionLoss) -> None:
    """Adds a training loss of your own, for ``diffusion.loss``.

    As soon as JAX has started, it and its gradient are traced, without labels and with them.

    Args:
      name: letters, digits and underscores, beginning with a letter.
      loss: called like ``ddpm_loss``; a pure function that JAX can differentiate.

    Raises:
      ValueError: the name is taken, JAX cannot trace the loss or its gradient, or it is not one
        float32 number.
    """
    add_name(LOSSES, "loss", name, loss, digest_source(loss), lambda: _check_loss(name, loss))
    if has_started():
        check_names()


def _check_sampler(name: str, sampler: Sampler) -> None:
    def draw(key: Key) -> Array:
        schedule = linear_schedule(_NUM_STEPS)
        return sampler(key, lambda x_t, t: x_t, schedule, _SHAPE, num_steps=None, eta=0.0)

    with explain_trial("sampler", name):
        images = jax.eval_shape(draw, seed_to_key(0))
    if getattr(images, "shape", None) != _SHAPE or images.dtype != jnp.float32:
        raise ValueError(f"sampler {name!r} must return float32 images of the given shape")


def _check_loss(name: str, loss: DiffusionLoss) -> None:
    def apply(params: Params, x_t: Array, *_: Any) -> Array:
        return params["scale"] * x_t

    params = {"scale": jnp.ones(())}
    batch = Batch(jnp.zeros(_SHAPE), jnp.zeros(_SHAPE[0], jnp.int32))
    for label_dropout in (None, 0.5):
        of_params = functools.partial(
            loss, apply, linear_schedule(_NUM_STEPS), label_dropout=label_dropout
        )
        with explain_trial("loss", name):
            value = jax.eval_shape(of_params, params, batch, seed_to_key(0))
        if getattr(value, "shape", None) != () or value.dtype != jnp.float32:
            raise ValueError(f"loss {name!r} must return one float32 number")
        with explain_trial("loss", name):
            jax.eval_shape(jax.grad(of_params), params, batch, seed_to_key(0))
