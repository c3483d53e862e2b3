"""Registration of a user's own optimizers and networks."""

import dataclasses
import json
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fedjax_diffusion.diffusion import Denoiser, DiffusionConfig
from fedjax_diffusion.experiment.networks import NETWORKS, NetworkKind
from fedjax_diffusion.experiment.optimizers import OPTIMIZERS, OptimizerRates
from fedjax_diffusion.experiment.task import make_task
from fedjax_diffusion.host.own_names import add_name, check_names, digest_source, explain_trial
from fedjax_diffusion.host.platforms import has_started
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.types import Batch
from fedjax_diffusion.values import OneOf, find_kinds


def register_optimizer(
    name: str, make: Callable[[OptimizerRates], optax.GradientTransformation]
) -> None:
    """Adds an optimizer of your own, for ``client_optimizer.name`` and ``server_optimizer.name``.

    As soon as JAX has started, it is tried on one small gradient.

    Args:
      name: letters, digits and underscores, beginning with a letter.
      make: ``make(rates) -> optax.GradientTransformation``; the rates may be traced, momentum may
        be None.

    Raises:
      ValueError: the name is taken, or ``make`` does not give an optimizer that JAX can trace and
        that returns finite updates of the gradient's shapes.
    """
    digest = digest_source(make)
    add_name(OPTIMIZERS, "optimizer", name, make, digest, lambda: _check_optimizer(name, make))
    if has_started():
        check_names()


def register_network(
    name: str,
    settings: type,
    make: Callable[..., Denoiser],
    *,
    image_shape: tuple[int, int, int] = (8, 8, 1),
) -> None:
    """Adds a network of your own, for ``model.name``; its settings are the keys beside the name.

    As soon as JAX has started, the network and the gradient of its loss are traced for two images.

    Args:
      name: letters, digits and underscores, beginning with a letter.
      settings: a frozen dataclass, of which every field has an annotation and a default that JSON
        can hold. A field ``num_classes`` (int or None, the default) is for a network with labels.
      make: ``make(config, image_shape, *, conv, dtype, remat) -> Denoiser``, like
        ``make_denoiser``; ``config`` is an instance of ``settings``.
      image_shape: (H, W, C) of the images with which it is tried.

    Raises:
      ValueError: in one line: the name is taken, the dataclass is not of this kind, JAX cannot
        trace the network, its parameters are not float32, or eps has another shape than x_t.
    """
    entry = NetworkKind(_add_name(name, settings), make)
    digest = digest_source(settings, make)
    add_name(NETWORKS, "network", name, entry, digest, lambda: _check_network(name, image_shape))
    if has_started():
        check_names()


def _check_optimizer(
    name: str, make: Callable[[OptimizerRates], optax.GradientTransformation]
) -> None:
    params = {"w": np.array([1.0, -2.0, 0.5], np.float32)}

    @jax.jit
    def update(rate):
        optimizer = make(OptimizerRates(rate, None, 0.0))
        return optimizer.update(params, optimizer.init(params), params)[0]

    with explain_trial("optimizer", name):
        updates = update(jnp.float32(0.1))
    is_alike = jax.tree.structure(updates) == jax.tree.structure(params)
    if not is_alike or updates["w"].shape != (3,) or not np.isfinite(updates["w"]).all():
        raise ValueError(f"optimizer {name!r} must return finite updates of the gradient's shapes")


def _add_name(name: str, settings: type) -> type:
    """Returns a dataclass of settings with the field ``name``, and no classes if it has none."""
    if not dataclasses.is_dataclass(settings) or not isinstance(settings, type):
        raise ValueError(f"network {name!r}: settings must be a frozen dataclass, got {settings!r}")
    own = {field.name for field in dataclasses.fields(settings)}
    if "name" in own:
        raise ValueError(f"network {name!r}: the name of the network is added to its settings")
    namespace = {"__module__": settings.__module__, "__doc__": settings.__doc__}
    namespace |= {} if "num_classes" in own else {"num_classes": None}
    try:
        named = dataclasses.make_dataclass(
            settings.__name__,
            [("name", Annotated[str, OneOf((name,))], name)],
            bases=(settings,),
            namespace=namespace,
            frozen=True,
        )
        config = named()
        find_kinds(named)
        hash(config)
        json.dumps(dataclasses.asdict(config))
    except (TypeError, NameError) as error:
        raise ValueError(
            f"network {name!r}: settings must be a frozen dataclass, with an annotation and a "
            f"default that JSON can hold for every field: {error}"
        ) from error
    return named


def _check_network(name: str, image_shape: tuple[int, int, int]) -> None:
    config: Any = NETWORKS[name].settings()
    has_classes = "num_classes" in {field.name for field in dataclasses.fields(config)}
    for given in [config, dataclasses.replace(config, num_classes=3)] if has_classes else [config]:
        with explain_trial("network", name):
            task = make_task(given, DiffusionConfig("linear", 4), image_shape)
            params, images = task.find_shapes(), jnp.zeros((2, *image_shape))
            batch, key = Batch(images, jnp.zeros(2, jnp.int32)), seed_to_key(0)
            labels = None if given.num_classes is None else batch.labels
            steps = jnp.zeros(2, jnp.int32)
            eps = jax.eval_shape(task.denoiser.apply, params, images, steps, None, labels)
        if task.denoiser.num_classes != given.num_classes:
            raise ValueError(f"network {name!r}: its denoiser must have the settings' num_classes")
        if any(leaf.dtype != jnp.float32 for leaf in jax.tree.leaves(params)):
            raise ValueError(f"network {name!r} must have float32 parameters")
        if eps.shape != images.shape or eps.dtype != jnp.float32:
            raise ValueError(f"network {name!r} must return float32 eps of the shape of x_t")
        with explain_trial("network", name):
            jax.eval_shape(jax.grad(task.make_loss(0.5)), params, batch, key)
