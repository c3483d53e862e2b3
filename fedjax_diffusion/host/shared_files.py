"""Files by which processes on several machines agree: one creates them, the server times them."""

import functools
import logging
import os
import secrets
from pathlib import Path

_LOG = logging.getLogger(__name__)
_SOME_TIME = 1e9
"""A second of the year 2001, which every file system can hold."""


def create(path: Path) -> int:
    """Returns the descriptor of a new file, open for writing; of several processes one gets it.

    Raises:
      FileExistsError: the file is there already.
      OSError: the folder cannot be written to.
    """
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)


def touch(path: Path) -> float:
    """Returns a file's time after the file server has set it to its own, in seconds."""
    os.utime(path)
    return path.stat().st_mtime


def read_server_clock(folder: Path) -> float:
    """Returns the time of the file server, in seconds; makes a file for a moment."""
    path = folder / f".clock-{secrets.token_hex(8)}"
    os.close(create(path))
    try:
        return touch(path)
    finally:
        path.unlink(missing_ok=True)


@functools.cache
def is_reliable(folder: Path) -> bool:
    """Returns whether processes can agree by files in a folder, and says in the log if not.

    Asks once. A file is created twice, and given a time: this is the part that one process can see.
    It cannot see whether two machines see each other's files in time.
    """
    path = folder / f".probe-{secrets.token_hex(8)}"
    os.close(create(path))
    try:
        problems = []
        os.utime(path, (_SOME_TIME, _SOME_TIME))
        if path.stat().st_mtime != _SOME_TIME:
            problems.append("does not keep the times that files are given")
        if not _exists_for_create(path):
            problems.append("creates one file twice")
    finally:
        path.unlink(missing_ok=True)
    for problem in problems:
        _LOG.warning(
            "%s: the file system %s; let one process at a time work there", folder, problem
        )
    return not problems


def _exists_for_create(path: Path) -> bool:
    try:
        os.close(create(path))
    except FileExistsError:
        return True
    return False
