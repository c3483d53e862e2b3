"""A cache of arrays that take long to compute, in the user's cache folder."""

import contextlib
import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_diffusion.host.atomic import write_bytes
from fedjax_diffusion.host.cache import cache_folder

_DIGEST = 32
"""Bytes of the SHA-256 at the start of a file."""


def keep_arrays(
    name: str, make: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """Returns the arrays stored under a name, making them on first use.

    A damaged file is made again; if the folder cannot be written, nothing is stored. A file is
    complete or missing, also if several processes make it at once.

    Args:
      name: of the file; it must contain everything that the arrays depend on.
      make: returns the arrays by name.
    """
    folder = cache_folder()
    if folder is None:
        return make()
    path = folder / "evaluation" / f"{name}.npz"
    try:
        return _load(path)
    except (OSError, ValueError):
        arrays = make()
    with contextlib.suppress(OSError):
        _save(path, arrays)
    return arrays


def _load(path: Path) -> dict[str, np.ndarray]:
    content = path.read_bytes()
    digest, body = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError(f"{path} is damaged")
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return dict(arrays)


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    save: Any = np.savez  # its stubs mistake `arrays` for a flag that NumPy 2.0 does not have
    save(buffer, **arrays)
    body = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, hashlib.sha256(body).digest() + body)
