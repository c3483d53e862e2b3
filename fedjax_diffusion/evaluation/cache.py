"""Arrays that take long to make, kept in the user's cache folder."""

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
"""Bytes of a SHA-256, which a file begins with."""


def keep_arrays(
    name: str, make: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """Returns the arrays kept under a name, made when first asked for.

    A file that is damaged is made again; a folder that cannot be written is no reason to fail. A
    file appears whole or not at all, also when several processes make it at once.

    Args:
      name: of the file; says all that the arrays depend on.
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
    save: Any = np.savez  # its stubs take `arrays` for its flag, which NumPy 2.0 has not
    save(buffer, **arrays)
    body = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, hashlib.sha256(body).digest() + body)
