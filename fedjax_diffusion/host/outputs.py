"""Output files that a user names: nothing is overwritten that this package did not make."""

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from fedjax_diffusion.host.file_errors import explain_file_errors

SOFTWARE = "fedjax-diffusion"
"""Names the maker of a PNG, in its text ``Software``."""
_MAX_JSON_BYTES = 1 << 26


def check_output(path: Path, is_own: Callable[[Path], bool]) -> None:
    """Raises ValueError unless a file can be written, before the work that leads to it.

    Args:
      path: of the file.
      is_own: returns whether an existing file was made by this package: it may be replaced.
    """
    if os.path.lexists(path):
        if not path.is_file() or not is_own(path):
            raise ValueError(f"{path} exists and was not made by {SOFTWARE}; choose another name")
        return
    with explain_file_errors(path):
        check_place(path)


def check_place(path: Path) -> None:
    """Raises OSError unless a folder can be made and written there; leaves nothing behind.

    Args:
      path: of a folder that exists, or does not.
    """
    path = path.absolute()
    try:
        place = next(p for p in (path, *path.parents) if os.path.lexists(p))
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")
        with tempfile.TemporaryDirectory(dir=place) as tried:  # the missing names are tried too
            Path(tried, path.relative_to(place)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error


def is_own_picture(path: Path) -> bool:
    """Returns whether a PNG names this package as its maker."""
    from fedjax_diffusion.host.image_files import open_image

    try:
        with open_image(path, ("PNG",)) as image:
            return image.info.get("Software") == SOFTWARE
    except ValueError:
        return False


def is_own_json(path: Path, *names: str) -> bool:
    """Returns whether a JSON file is an object with these names."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            return False
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and set(names) <= content.keys()
