"""The server: the weighted mean of the updates, and the optimizer that applies it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fedjax_diffusion.federated.client import SharedInputs
from fedjax_diffusion.federated.hyperparameters import settle
from fedjax_diffusion.types import Array, Params, PyTree


@dataclass(frozen=True)
class ServerUpdate:
    """The server's optimizer and moving average; federated averaging by default.

    Attributes:
      optimizer: any optax optimizer, see ``make_server_update``.
      ema_decay: decay per round of ``ema_params``, in [0, 1); 0: ``ema_params == params``. An
        array, which may be traced, is not checked.

    Raises:
      ValueError: ``ema_decay`` is out of range.
    """

    optimizer: optax.GradientTransformation = field(default_factory=lambda: optax.sgd(1.0))
    ema_decay: float | Array = 0.0

    def __post_init__(self):
        if not isinstance(self.ema_decay, jax.Array) and not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}")


GivenServer = ServerUpdate | Callable[[Any], ServerUpdate]
"""Settings, or a function of the hyperparameters that returns them."""
ServerUpdateFn = Callable[[SharedInputs, PyTree, Params], tuple[Params, PyTree]]
"""``update(shared, opt_state, mean_update) -> (params, opt_state)``."""


def make_server_update(server: GivenServer) -> ServerUpdateFn:
    """Returns the server's step, which uses the mean update as a negative gradient.

    With ``optax.sgd(1.0)`` this is federated averaging (McMahan et al. 2017), with Adam or momentum
    FedAdam and FedAvgM (Reddi et al. 2021, Alg. 2).
    """

    def update(shared: SharedInputs, opt_state: PyTree, mean_update: Params):
        optimizer = settle(server, shared.hyperparameters).optimizer
        gradient = jax.tree.map(jnp.negative, mean_update)
        step, opt_state = optimizer.update(gradient, opt_state, shared.params)
        return optax.apply_updates(shared.params, step), opt_state

    return update


def normalize_weights(weights: Array, is_included: Array) -> Array:
    """Returns ``a_k = n_k / sum_j n_j`` over the included clients, float32 [M]; zeros elsewhere.

    Args:
      weights: float32 [M], not negative.
      is_included: bool [M].

    >>> normalize_weights(jnp.array([1.0, 3.0, 4.0]), jnp.array([True, True, False])).tolist()
    [0.25, 0.75, 0.0]
    """
    kept = jnp.where(is_included, weights, 0.0)
    return kept / jnp.maximum(kept.sum(), jnp.finfo(jnp.float32).tiny)


def is_sound(params: Params, opt_state: PyTree) -> Array:
    """Returns whether the clients could go on from the server's new state, bool [].

    Args:
      params: the new global model. Its squared norm must be finite in float32: a model of norm
        1.8e19 or more is no model, though each of its numbers may be finite.
      opt_state: the server optimizer's new state. Its numbers must be finite: a second moment that
        is infinite would hold every later step at zero.
    """
    squared_norm = sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(params))
    moments = [x for x in jax.tree.leaves(opt_state) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(squared_norm), *(jnp.isfinite(x).all() for x in moments)]).all()


def select(condition: Array, if_true: PyTree, if_false: PyTree) -> PyTree:
    """Returns one of two trees by a bool []; a NaN in the other tree has no effect."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), if_true, if_false)
