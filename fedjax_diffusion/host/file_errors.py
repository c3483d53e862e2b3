"""Failures of the file system as one line that names the file and the remedy."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
"""Errors of writing to an open file, which do not name it."""
_MAX_NAME = 255
"""Most bytes of a name in the usual file systems."""
_SHOWN = 20


@contextlib.contextmanager
def explain_file_errors(folder: str | Path) -> Iterator[None]:
    """Turns an OSError of a file into a ValueError of one line.

    Errors of pipes and of interrupted calls belong to no file: they pass.

    Args:
      folder: named where the error names no file.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno not in _OF_DISKS:
            raise
        place = folder if error.filename is None else _to_text(error.filename)
        reason = error.strerror or type(error).__name__
        remedy = _find_remedy(error)
        if error.errno == errno.ENAMETOOLONG:
            remedy = _find_shorter(str(place))
        raise ValueError(f"{place}: {reason}; {remedy}") from error


def _find_shorter(place: str) -> str:
    """Returns the remedy for a path that is too long, with the part of it that is."""
    longest = max(place.split(os.sep), key=_count_bytes)
    if _count_bytes(longest) <= _MAX_NAME:  # a temporary name beside it may be longer
        return f"the path has {_count_bytes(place)} bytes: choose a shorter one"
    size = _count_bytes(longest)
    return f"{longest[:_SHOWN]}... has {size} bytes: choose a name of at most {_MAX_NAME}"


def _count_bytes(name: str) -> int:
    return len(os.fsencode(name))


def _find_remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room and repeat the command, which goes on from the last checkpoint"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "permit it, or choose another folder"
    if error.errno == errno.EIO:
        return "the disk fails: repeat the command, or go on with a copy of the folder"
    return "choose another path"


def _to_text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
