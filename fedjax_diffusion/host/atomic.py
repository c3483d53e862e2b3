"""Atomic and durable writing of files and folders: complete or absent, also after a power cut."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9]+\.tmp", re.DOTALL)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a temporary file beside ``path`` and renames it; an old file stays until then.

    If two processes write one path at once, the complete content of one of them remains.

    Raises:
      OSError: the folder cannot be written to; the temporary file is removed.
    """
    temporary = _name_temporary(path, os.getpid())
    try:
        _write_and_sync(temporary, content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_new(path: Path, content: bytes) -> None:
    """Writes a file unless it is there: of several threads, processes or machines the first one.

    The caller reads the file afterwards, to know whose it is. On a file system without hard links,
    one of two that write at the same moment may replace the other's file.

    Raises:
      OSError: the folder cannot be written to; the temporary file is removed.

    Guarantees:
      The file is complete or not there, and the first one stays as it is.
    """
    temporary = _name_temporary(path, secrets.randbits(64))  # two machines may have equal ids
    try:
        _write_and_sync(temporary, content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:
            if not path.exists():
                temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes text in UTF-8 with ``write_bytes``."""
    write_bytes(path, text.encode())


def write_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Makes a folder of files that is complete or absent.

    Args:
      path: the folder, which must not exist yet, in an existing one.
      fill: writes the files, without folders, into the temporary folder that it is given.

    Raises:
      OSError: it cannot be written; the temporary folder is removed.
    """
    temporary = _name_temporary(path, os.getpid())
    shutil.rmtree(temporary, ignore_errors=True)  # of a dead process with the same number
    try:
        temporary.mkdir()
        fill(temporary)
        for file in temporary.iterdir():
            _sync(file)
        sync_folder(temporary)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Removes a folder that ``write_folder`` made; it disappears at once, and then its files."""
    temporary = _name_temporary(path, os.getpid())
    path.rename(temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def remove_leftover(path: Path) -> None:
    """Removes a temporary file or folder of a dead process; nothing happens if that fails."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on disk, where the system can do that."""
    with contextlib.suppress(OSError):
        _sync(folder)


def find_leftovers(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yields the temporary files and folders in a folder, each with the name that it was to get."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := _TEMPORARY.fullmatch(path.name):
            yield path, match["name"]


def _name_temporary(path: Path, number: int) -> Path:
    return path.with_name(f".{path.name}.{number}.tmp")


def _write_and_sync(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
