"""Files of weights: npz, safetensors (extra ``safetensors``) and msgpack, as Flax writes it."""

import importlib.util
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import serialization, traverse_util

from fedjax_diffusion.experiment.weights import Weights
from fedjax_diffusion.host.atomic import write_bytes

_MAX_REASON = 100
_SAFETENSORS = ".safetensors"


class _Format(NamedTuple):
    """Conversion of weights to the content of a file, and back."""

    to_bytes: Callable[[Weights], bytes]
    from_bytes: Callable[[bytes], Mapping[str, Any]]


def write_weights(path: Path, weights: Weights) -> None:
    """Writes weights into a file, in the format of its name's ending; it is complete or absent.

    Raises:
      ValueError: the name ends otherwise, or the format's package is not installed; nothing is
        written.
    """
    content = _find_format(path).to_bytes(weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)


def read_weights(path: Path) -> Weights:
    """Returns the weights of a file, bit by bit as they were written.

    Nothing in the file is run.

    Raises:
      ValueError: the file cannot be read, is damaged, or holds anything else than arrays.
    """
    form = _find_format(path)
    try:
        content = form.from_bytes(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # each of the libraries has many kinds of its own
        reason = " ".join(str(error).split())[:_MAX_REASON]
        raise ValueError(f"{path} is no {path.suffix} file of weights ({reason})") from error
    for name, array in content.items():
        if not isinstance(array, np.ndarray) or array.dtype == object:
            raise ValueError(f"{path} holds {type(array).__name__} in {name!r}, not an array")
    return {
        name: array.astype(array.dtype.newbyteorder("="), copy=False)
        for name, array in content.items()
    }


def _find_format(path: Path) -> _Format:
    """Returns the format of a file's name.

    Raises:
      ValueError: the name ends otherwise, or the format's package is not installed.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"{path} must end in {', '.join(FORMATS)}")
    if path.suffix == _SAFETENSORS and importlib.util.find_spec("safetensors") is None:
        raise ValueError(
            f"{path} needs one more package: pip install -e '.[safetensors]' in the "
            "project's folder"
        )
    return FORMATS[path.suffix]


def _to_npz(weights: Weights) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **weights)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def _from_npz(content: bytes) -> Weights:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file)


def _to_safetensors(weights: Weights) -> bytes:
    from safetensors.numpy import save

    return save({name: np.asarray(array, order="C") for name, array in weights.items()})


def _from_safetensors(content: bytes) -> Weights:
    from safetensors.numpy import load

    return load(content)


def _to_msgpack(weights: Weights) -> bytes:
    return serialization.msgpack_serialize(traverse_util.unflatten_dict(weights, sep="/"))


def _from_msgpack(content: bytes) -> Mapping[str, Any]:
    return traverse_util.flatten_dict(serialization.msgpack_restore(content), sep="/")


FORMATS: dict[str, _Format] = {
    ".npz": _Format(_to_npz, _from_npz),
    _SAFETENSORS: _Format(_to_safetensors, _from_safetensors),
    ".msgpack": _Format(_to_msgpack, _from_msgpack),
}
"""Formats by the ending of a file's name."""
