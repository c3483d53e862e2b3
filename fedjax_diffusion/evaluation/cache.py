"""Arrays that take long to compute, in the user's cache folder or in one that several share."""

import contextlib
import functools
import hashlib
import io
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_diffusion.host.atomic import write_bytes, write_new
from fedjax_diffusion.host.cache import cache_folder

_LOG = logging.getLogger(__name__)
_DIGEST = 32
"""Bytes of the SHA-256 at the start of a file."""


def keep_arrays(
    name: str, make: Callable[[], Mapping[str, np.ndarray]], shared: Path | None = None
) -> Mapping[str, np.ndarray]:
    """Returns the arrays stored under a name, making them on first use.

    A damaged file is made again; if the folder cannot be written, nothing is stored. A file is
    complete or missing, also if several processes make it at once.

    Args:
      name: of the file; it must contain everything that the arrays depend on, but for the machine.
      make: returns the arrays by name.
      shared: a folder, made if needed, whose users must all have the same arrays, on any machine:
        those in it come before those of the user's cache. None: there is none.

    Raises:
      OSError: a file in ``shared`` is there and cannot be read.

    Guarantees:
      All users of ``shared`` get the arrays of the first one that stored them there. Where they
      cannot be stored, or are damaged and made again, others may get other ones; the log says so.
    """
    if shared is not None:
        return _share(shared / f"{name}.npz", functools.partial(keep_arrays, name, make))
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


def _share(path: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """Returns the arrays of a file, which the first of several users makes."""
    try:
        return _load(path)
    except FileNotFoundError:
        pass
    except ValueError as error:
        _LOG.warning("%s; it is made again, perhaps with other numbers than before", error)
        with contextlib.suppress(OSError):
            path.unlink()  # now: another user's new file comes later, as making one takes a while
    arrays = make()
    try:
        path.parent.mkdir(exist_ok=True)
        write_new(path, _to_bytes(arrays))
        return _load(path)  # another user's, if it was faster
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        _LOG.warning("%s is not stored (%s); other machines may make another one", path, reason)
        return arrays


def _load(path: Path) -> dict[str, np.ndarray]:
    content = path.read_bytes()
    digest, body = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError(f"{path} is damaged")
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return dict(arrays)


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, _to_bytes(arrays))


def _to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns the content of a file, which ``_load`` reads."""
    buffer = io.BytesIO()
    save: Any = np.savez  # its stubs mistake `arrays` for a flag that NumPy 2.0 does not have
    save(buffer, **arrays)
    body = buffer.getvalue()
    return hashlib.sha256(body).digest() + body
