"""Weights of a model by name, and their identity: the SHA-256 of names, shapes and numbers."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import numpy as np

from fedjax_diffusion.types import Params

Weights: TypeAlias = dict[str, np.ndarray]
"""Arrays by name: the keys on the way to a leaf of the parameters, joined by ``/``."""
_MAX_NAMED = 3


def list_weights(params: Params) -> Weights:
    """Returns the arrays of parameters by name, on the host.

    >>> list(list_weights({"params": {"conv": {"kernel": 0.0, "bias": 0.0}}}))
    ['params/conv/bias', 'params/conv/kernel']
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {_join(path): np.asarray(leaf) for path, leaf in leaves}


def hash_weights(weights: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of weights, 64 hexadecimal digits; the same from any kind of file."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def to_params(weights: Mapping[str, np.ndarray], like: Params) -> Params:
    """Returns weights as the parameters of a model, on the host; no number is changed.

    Args:
      weights: by name.
      like: parameters of the model, or their shapes and dtypes.

    Raises:
      ValueError: a name is missing or unknown, a shape or dtype is another one, or a number is not
        finite; names the first of each.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    asked: dict[str, Any] = {_join(path): leaf for path, leaf in leaves}
    common = [name for name in asked if name in weights]
    faults = {
        "it lacks": [name for name in asked if name not in weights],
        "the model has no": [name for name in weights if name not in asked],
        "shapes differ:": [
            f"{name} {weights[name].shape}, the model has {asked[name].shape}"
            for name in common
            if weights[name].shape != asked[name].shape
        ],
        "dtypes differ:": [
            f"{name} {weights[name].dtype}, the model has {asked[name].dtype}"
            for name in common
            if weights[name].dtype != asked[name].dtype
        ],
    }
    named = [f"{fault} {_name(names)}" for fault, names in faults.items() if names]
    if named:
        raise ValueError(f"the weights do not fit the model: {'; '.join(named)}")
    if wrong := [name for name in common if not np.isfinite(weights[name]).all()]:
        raise ValueError(f"the weights are not finite in {_name(wrong)}")
    return jax.tree_util.tree_unflatten(structure, [weights[name] for name in asked])


def _name(names: list[str]) -> str:
    """Returns names as text, cut short after three."""
    rest = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + rest


def _join(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
