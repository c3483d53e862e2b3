"""A cache of decoded images and labels, in files that are mapped into memory.

An entry is a folder of three files: ``images.npy``, ``labels.npy``, and ``about.json`` with the
fingerprint and the SHA-256 of the source files and the SHA-256 of both arrays. It is written under
a temporary name and renamed when it is complete. Reading always checks the fingerprint and the
sizes, and the checksums of arrays up to ``CHECKED_BYTES``; with ``verify`` also all checksums and
the contents of the source. An entry that fails a check is decoded again.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_diffusion.host.cache import user_folder

try:
    import fcntl
except ImportError:  # Windows has no lock: several processes may decode, the last entry stays
    fcntl = None

CHECKED_BYTES = 1 << 28
"""Arrays up to this size are compared with their checksum at every reading: 0.2 s at most."""

VARIABLE = "FEDJAX_DIFFUSION_DATA_CACHE"
"""Environment variable for another folder of the entries, or ``off``."""

_LOG = logging.getLogger(__name__)

Arrays = tuple[np.ndarray, np.ndarray]
"""Images uint8 [N, H, W, C] and labels int64 [N, F], one column per label feature."""

MakeArrays = Callable[[tuple[int, ...], int], Arrays]
"""``make([N, H, W, C], F) -> Arrays``, writable."""

_DTYPES = {"images": np.uint8, "labels": np.int64}


def data_cache_folder() -> Path | None:
    """Returns the folder of the entries; None if nothing can or shall be stored."""
    asked = os.environ.get(VARIABLE)
    if asked:
        return None if asked == "off" else Path(asked).expanduser()
    return user_folder("data")


def fingerprint_files(paths: list[Path], reader: dict[str, Any]) -> dict[str, Any]:
    """Returns a fingerprint of files and reader, to detect that either has changed.

    Args:
      paths: the files; names, sizes and modification times are used, contents are not: see
        ``hash_files``.
      reader: plain values, everything else that the arrays depend on.
    """
    stats = [(path, path.stat()) for path in paths]
    files = [[path.name, stat.st_size, stat.st_mtime_ns] for path, stat in stats]
    return {**reader, "files": files}


def hash_files(paths: list[Path]) -> str:
    """Returns the SHA-256 of the contents of files, in order, in hexadecimal digits.

    Raises:
      OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def open_entry(
    folder: Path, name: str, fingerprint: dict[str, Any], source_sha256: str | None = None
) -> Arrays | None:
    """Returns the arrays of an entry, read-only and mapped into memory.

    None if there is no entry, or if it was decoded from other files.

    Args:
      folder: of all entries.
      name: of the entry.
      fingerprint: of the source now.
      source_sha256: of the source's contents now; it and the checksums of arrays of any size are
        compared. None: neither is.

    Raises:
      ValueError: the entry is damaged. One line that names the folder and the cause.
    """
    entry = folder / name
    try:
        about = json.loads((entry / "about.json").read_text(encoding="utf-8"))
        if about["fingerprint"] != json.loads(json.dumps(fingerprint)):
            return None
        if source_sha256 not in (None, about["source_sha256"]):
            return None
        arrays = tuple(np.load(entry / f"{part}.npy", mmap_mode="r") for part in _DTYPES)
        for part, array in zip(_DTYPES, arrays, strict=True):
            expected = about[part]
            if [array.dtype.name, list(array.shape)] != [expected["dtype"], expected["shape"]]:
                raise ValueError(f"{part}.npy is {array.dtype} {list(array.shape)}")
            is_checked = source_sha256 is not None or array.nbytes <= CHECKED_BYTES
            if is_checked and checksum(array) != expected["sha256"]:
                raise ValueError(f"the SHA-256 of {part}.npy is wrong")
    except (FileNotFoundError, NotADirectoryError):
        if entry.is_dir():
            raise ValueError(f"cache {str(entry)!r} is damaged: a file is missing") from None
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ValueError(f"cache {str(entry)!r} is damaged: {error}") from error
    images, labels = (array.view(np.ndarray) for array in arrays)
    return images, labels


def load_or_make(
    name: str,
    fingerprint: dict[str, Any],
    hash_source: Callable[[], str],
    make: Callable[[MakeArrays], Arrays],
    *,
    verify: bool = False,
) -> Arrays | None:
    """Returns the arrays of an entry; makes the entry if it is missing, stale or damaged.

    A damaged entry is named in one line of the log. None if nothing can be stored.

    Args:
      name: of the entry.
      fingerprint: of the source.
      hash_source: returns the SHA-256 of the contents of the source; called before the arrays are
        made, and to verify.
      make: makes arrays with its argument, fills them, and returns them.
      verify: compare the source with the contents that were decoded, and the checksums of arrays
        of any size.

    Guarantees:
      A killed process leaves no entry that is accepted. If several processes need the same entry,
      one makes it and the others log that and wait; without file locks each makes it, and the last
      entry stays.
    """
    folder = data_cache_folder()
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        source_sha256 = hash_source() if verify else None
        found = _open_or_say(folder, name, fingerprint, source_sha256)
        if found is not None:
            return found
        if not os.access(folder, os.W_OK):
            return None
        with _turn(folder, name):
            # Another process may have made the entry while this one waited.
            with contextlib.suppress(ValueError):
                if (found := open_entry(folder, name, fingerprint, source_sha256)) is not None:
                    return found
            about = {"fingerprint": fingerprint, "source_sha256": source_sha256 or hash_source()}
            _write_entry(folder, name, about, make)
    except OSError as error:
        _LOG.warning(
            "decoded images cannot be kept in %r (%s): set %s to another folder or to 'off'",
            str(folder),
            error,
            VARIABLE,
        )
        return None
    return open_entry(folder, name, fingerprint)


def make_in_memory(shape: tuple[int, ...], num_labels: int) -> Arrays:
    """Returns arrays that are not kept: a ``MakeArrays``."""
    return np.empty(shape, np.uint8), np.empty((shape[0], num_labels), np.int64)


def checksum(array: np.ndarray) -> str:
    """Returns the SHA-256 of an array's values, row by row, in hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def entry_name(title: str, identity: dict[str, Any]) -> str:
    """Returns the name of an entry: the title and a hash of ``identity``."""
    text = json.dumps(identity, sort_keys=True)
    return f"{to_file_name(title)}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def to_file_name(title: str) -> str:
    """Returns a title as a valid name of a file or folder on any system.

    >>> to_file_name("emnist/digits:3.*.*-train[:10%]")
    'emnist_digits_3._._-train__10__'
    """
    return re.sub(r"[^\w.+-]", "_", title)


def _open_or_say(
    folder: Path, name: str, fingerprint: dict[str, Any], source_sha256: str | None
) -> Arrays | None:
    """Returns an entry's arrays; logs a damaged entry and returns None for it."""
    try:
        return open_entry(folder, name, fingerprint, source_sha256)
    except ValueError as error:
        _LOG.warning("%s; it is decoded again", error)
        return None


@contextlib.contextmanager
def _turn(folder: Path, name: str) -> Iterator[None]:
    """Holds a lock, so that one process at a time makes an entry; it ends with the process."""
    with (folder / f".{name}.lock").open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _LOG.warning("waiting for another process, which makes %r", str(folder / name))
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_entry(
    folder: Path, name: str, about: dict[str, Any], make: Callable[[MakeArrays], Arrays]
) -> None:
    """Writes an entry under a temporary name and renames it when it is complete."""
    if fcntl is not None:  # this process has the lock: no other one writes these leftovers
        for leftover in folder.glob(f".{name}.*"):
            if leftover.suffix in (".new", ".old"):
                shutil.rmtree(leftover, ignore_errors=True)
    token = secrets.token_hex(4)
    new, old = (folder / f".{name}.{token}.{suffix}" for suffix in ("new", "old"))
    new.mkdir()
    try:
        facts = {}
        for part, array in zip(_DTYPES, make(functools.partial(_make_files, new)), strict=True):
            array.flush()  # pyright: ignore[reportAttributeAccessIssue]
            shape = {"dtype": array.dtype.name, "shape": list(array.shape)}
            facts[part] = {**shape, "sha256": checksum(array)}
        text = json.dumps({**about, **facts}, indent=1)
        (new / "about.json").write_text(text, encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            (folder / name).rename(old)
        try:
            new.rename(folder / name)
        except OSError:
            if not (folder / name).is_dir():  # else another process was faster, its entry stays
                raise
    finally:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _make_files(folder: Path, shape: tuple[int, ...], num_labels: int) -> Arrays:
    """Returns arrays that are files, with their full space allocated on the disk."""
    arrays = []
    shapes = (shape, (shape[0], num_labels))
    for (part, dtype), size in zip(_DTYPES.items(), shapes, strict=True):
        path = folder / f"{part}.npy"
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=size)
        if hasattr(os, "posix_fallocate"):
            # Else a full disk would kill the process at the first write without space.
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        arrays.append(array)
    images, labels = arrays
    return images, labels
