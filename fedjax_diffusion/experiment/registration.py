"""Registration of a user's own optimizers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fedjax_diffusion.experiment.optimizers import OPTIMIZERS, OptimizerRates
from fedjax_diffusion.host.own_names import add_name, check_names, digest_source
from fedjax_diffusion.host.platforms import has_started


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
    add_name(OPTIMIZERS, "optimizer", name, make, digest, lambda: _check(name, make))
    if has_started():
        check_names()


def _check(name: str, make: Callable[[OptimizerRates], optax.GradientTransformation]) -> None:
    params = {"w": np.array([1.0, -2.0, 0.5], np.float32)}

    @jax.jit
    def update(rate):
        optimizer = make(OptimizerRates(rate, None, 0.0))
        return optimizer.update(params, optimizer.init(params), params)[0]

    try:
        updates = update(jnp.float32(0.1))
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"optimizer {name!r} cannot be traced by JAX: {reason}") from error
    is_alike = jax.tree.structure(updates) == jax.tree.structure(params)
    if not is_alike or updates["w"].shape != (3,) or not np.isfinite(updates["w"]).all():
        raise ValueError(f"optimizer {name!r} must return finite updates of the gradient's shapes")
