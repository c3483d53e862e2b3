"""Weights of FID's Inception: names, file and SHA-256."""

import functools
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.evaluation.inception.network import Inception
from fedjax_diffusion.evaluation.inception.npz import MAX_BYTES, parse_npz
from fedjax_diffusion.evaluation.inception.pth import parse_pth
from fedjax_diffusion.types import PyTree

FID_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""SHA-256 of the file that PyTorch ports of FID share; its name has the first 8 digits."""

_WHERE = (
    "a release asset of pytorch-fid (pt_inception-2015-12-05-6726825d.pth) or of torch-fidelity "
    "(weights-inception-2015-12-05-6726825d.pth)"
)
# Leaf of the Linen network -> its name in PyTorch.
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_IGNORED = ".num_batches_tracked"  # a counter of training steps, not used for inference


class InceptionWeights(NamedTuple):
    """The checked content of a file of weights.

    Attributes:
      variables: of ``Inception().apply``, float32.
      sha256: of the file, 64 hexadecimal digits.
      is_fid: whether the file is, byte for byte, the well-known one; with other weights a distance
        is not an FID.
    """

    variables: PyTree
    sha256: str
    is_fid: bool


def read_inception_weights(path: str | Path) -> InceptionWeights:
    """Returns the weights in a ``.pth`` file (either layout) or an ``.npz`` file.

    Args:
      path: of a file whose tensors have PyTorch's names (``Mixed_5b.branch1x1.conv.weight``) and
        shapes. Counters ``*.num_batches_tracked`` are ignored.

    Raises:
      ValueError: there is no such file, it is damaged or holds other values than tensors, or a
        tensor is missing, unexpected, of another shape, or not of finite real numbers.

    Guarantees:
      The SHA-256 is of the same bytes that were read, and no code in the file is run.
    """
    path = Path(path).expanduser()
    if path.suffix not in (".pth", ".npz"):
        raise ValueError(f"inception_weights must be a .pth or .npz file, {_WHERE}, got {path}")
    if not path.is_file():
        raise ValueError(f"inception_weights {path} does not exist; the usual file is {_WHERE}")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"inception_weights {path} has more than {MAX_BYTES} bytes")
    content = path.read_bytes()
    parse = parse_npz if path.suffix == ".npz" else parse_pth
    tensors = parse(content, f"inception_weights {path}")
    try:
        variables = tensors_to_variables(tensors)
    except ValueError as error:
        raise ValueError(f"inception_weights {path} does not fit: {error}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    return InceptionWeights(variables, sha256, sha256 == FID_SHA256)


def tensors_to_variables(tensors: Mapping[str, np.ndarray]) -> PyTree:
    """Returns the variables of ``Inception`` from tensors with PyTorch's names.

    Raises:
      ValueError: a tensor is missing, unexpected, of another shape, or not of finite real numbers;
        the message names the first one.
    """
    leaves = list_tensors()
    tensors = {name: x for name, x in tensors.items() if not name.endswith(_IGNORED)}
    _check_names(tensors, leaves)
    variables = {}
    for name, (path, expected) in leaves.items():
        tensor = tensors[name]
        if tensor.shape != expected:
            raise ValueError(
                f"tensor {name} has shape {list(tensor.shape)}, expected {list(expected)}"
            )
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise ValueError(f"tensor {name} has type {tensor.dtype}, expected a float")
        array = np.ascontiguousarray(tensor.transpose(_to_linen_axes(tensor.ndim)), np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"tensor {name} has entries that are not finite")
        variables[path] = jax.device_put(array)  # jnp.asarray would compile a copy per shape
    return flax.traverse_util.unflatten_dict(variables)


@functools.cache
def list_tensors() -> Mapping[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Returns path and PyTorch's shape of each leaf by PyTorch's name, in the order of the names.

    The path is that of the leaf in ``Inception().init``.
    """
    image = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.uint8)
    shapes: Any = jax.eval_shape(Inception().init, jax.random.key(0), image)
    leaves: dict = flax.traverse_util.flatten_dict(shapes)
    return dict(sorted((_to_name(p), (p, _to_torch_shape(x.shape))) for p, x in leaves.items()))


def _to_name(path: tuple[str, ...]) -> str:
    _collection, *modules, leaf = path
    return ".".join([*modules, _LEAVES[leaf]])


def _to_torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape OIHW of HWIO, [out, in] of [in, out]."""
    return (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape[::-1]


def _to_linen_axes(rank: int) -> tuple[int, ...]:
    """Returns the axes for OIHW -> HWIO, [out, in] -> [in, out]."""
    return (2, 3, 1, 0) if rank == 4 else tuple(reversed(range(rank)))


def _check_names(given: Iterable[str], expected: Mapping[str, Any]) -> None:
    given = list(given)
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    if missing:
        raise ValueError(f"tensor {missing[0]} is missing ({len(missing)} of {len(expected)} are)")
    if unexpected:
        raise ValueError(f"tensor {unexpected[0]!r} is unexpected ({len(unexpected)} are)")
