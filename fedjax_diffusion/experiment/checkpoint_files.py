"""Files of a checkpoint: the leaves of a state, with the SHA-256 of each.

``leaves.bin`` holds the leaves one after the other, in C order and little-endian. ``metadata.json``
holds their names, dtypes, shapes and checksums, and its own checksum. Nothing is pickled.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np

from fedjax_diffusion.types import PyTree

METADATA = "metadata.json"
LEAVES = "leaves.bin"
_FORMAT = 1
_KEYS = re.compile(r"\['([^']*)'\]|\[(\d+)\]|\.(\w+)")
"""Keys in the name of a leaf: ``.params['conv'][0]``."""
_CHUNK_BYTES = 1 << 20


class DamagedError(ValueError):
    """A checkpoint is not, or no longer, what a run has written."""


def write_state(folder: Path, state: PyTree, about: Mapping[str, Any]) -> None:
    """Writes the two files of a checkpoint.

    Args:
      folder: an empty folder.
      state: of arrays on this process's devices or on the host.
      about: plain values, returned by ``verify``.
    """
    leaves = []
    with (folder / LEAVES).open("wb") as file:
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            array = np.asarray(leaf)
            content = array.tobytes()
            file.write(content)
            leaf = {"name": jax.tree_util.keystr(path), **_describe(array)}
            leaves.append(leaf | {"sha256": hashlib.sha256(content).hexdigest()})
    content = {"format": _FORMAT, "about": dict(about), "leaves": leaves}
    text = json.dumps({"sha256": _hash_json(content), "content": content})
    (folder / METADATA).write_text(text)


def verify(folder: Path) -> dict[str, Any]:
    """Compares every leaf with its checksum, and returns what ``write_state`` was given.

    Raises:
      DamagedError: a file is missing or changed; names the file and the leaf.
    """
    content = _read_metadata(folder)
    with _open_leaves(folder, content["leaves"]) as file:
        for leaf in content["leaves"]:
            digest, remaining = hashlib.sha256(), _count_bytes(leaf)
            while remaining:
                chunk = file.read(min(remaining, _CHUNK_BYTES))
                digest.update(chunk)
                remaining -= len(chunk) or remaining
            _check_sum(leaf, digest.hexdigest())
    return content["about"]


def read_state(folder: Path, like: PyTree) -> PyTree:
    """Returns the saved state as host arrays.

    Args:
      folder: of a checkpoint.
      like: a state of the same structure, shapes and dtypes.

    Raises:
      DamagedError: a file is missing or changed, or the state is of another kind.
    """
    metadata = _read_metadata(folder)
    asked, structure = jax.tree_util.tree_flatten_with_path(like)
    expected = [{"name": jax.tree_util.keystr(p), **_describe(leaf)} for p, leaf in asked]
    found = [{k: v for k, v in leaf.items() if k != "sha256"} for leaf in metadata["leaves"]]
    if found != expected:
        other = next(
            (f for f, e in zip(found, expected, strict=False) if f != e), {"name": "a leaf more"}
        )
        raise DamagedError(f"it holds a state of another model ({other['name']})")
    arrays = []
    with _open_leaves(folder, metadata["leaves"]) as file:
        for leaf, (_, old) in zip(metadata["leaves"], asked, strict=True):
            content = bytearray(file.read(_count_bytes(leaf)))  # arrays that may be written to
            _check_sum(leaf, hashlib.sha256(content).hexdigest())
            arrays.append(np.frombuffer(content, old.dtype).reshape(old.shape))
    return jax.tree_util.tree_unflatten(structure, arrays)


def read_part(folder: Path, part: str) -> dict[str, np.ndarray]:
    """Returns the arrays of one field of a saved state, by the keys to a leaf, joined by ``/``.

    Args:
      folder: of a checkpoint.
      part: name of the field, such as ``"params"``.

    Raises:
      DamagedError: a file is missing or changed.
    """
    leaves, arrays = _read_metadata(folder)["leaves"], {}
    with _open_leaves(folder, leaves) as file:
        for leaf in leaves:
            content = file.read(_count_bytes(leaf))
            name, *keys = ("".join(found) for found in _KEYS.findall(leaf["name"]))
            if name == part:
                _check_sum(leaf, hashlib.sha256(content).hexdigest())
                array = np.frombuffer(content, np.dtype(leaf["dtype"])).reshape(leaf["shape"])
                arrays["/".join(keys)] = array
    return arrays


def _read_metadata(folder: Path) -> dict[str, Any]:
    """Returns the content of the metadata, whose own checksum is right: its form is ours."""
    try:
        text = json.loads((folder / METADATA).read_bytes())
        content = text["content"]
        if text["sha256"] != _hash_json(content):
            raise DamagedError(f"{METADATA} is not as it was written")
    except DamagedError:
        raise
    except OSError as error:
        raise DamagedError(f"{METADATA} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{METADATA} is not as it was written") from error
    if content["format"] != _FORMAT:
        raise DamagedError(f"it is of format {content['format']}, this version reads {_FORMAT}")
    return content


def _open_leaves(folder: Path, leaves: list[dict[str, Any]]) -> BinaryIO:
    """Returns the open file of the leaves, which has the right length."""
    expected = sum(map(_count_bytes, leaves))
    try:
        size = (folder / LEAVES).stat().st_size
        if size != expected:
            raise DamagedError(f"{LEAVES} has {size} bytes, expected {expected}")
        return (folder / LEAVES).open("rb")
    except OSError as error:
        raise DamagedError(f"{LEAVES} cannot be read ({error.strerror})") from error


def _check_sum(leaf: Mapping[str, Any], found: str) -> None:
    if found != leaf["sha256"]:
        raise DamagedError(f"the leaf {leaf['name']} in {LEAVES} is not as it was written")


def _describe(array: Any) -> dict[str, Any]:
    return {"dtype": np.dtype(array.dtype).name, "shape": list(array.shape)}


def _count_bytes(leaf: Mapping[str, Any]) -> int:
    return math.prod(leaf["shape"]) * np.dtype(leaf["dtype"]).itemsize


def _hash_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
