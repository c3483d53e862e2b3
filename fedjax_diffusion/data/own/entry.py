"""Decoded own pictures: their entry in the cache, and the limit of their size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedjax_diffusion.data.image_cache import (
    Arrays,
    MakeArrays,
    entry_name,
    fingerprint_files,
    hash_files,
    load_or_make,
    make_in_memory,
)

_READER_VERSION = 1
"""To be incremented when the same files shall give other arrays."""
MAX_BYTES = 1 << 36
"""Of the decoded images of a split: 64 GiB."""


def load_entry(
    source: Path,
    split: str,
    paths: list[Path],
    reader: dict[str, Any],
    decode: Callable[[MakeArrays], Arrays],
    *,
    verify: bool,
) -> Arrays:
    """Returns the images and labels of a split, from the cache if they are kept there.

    Args:
      source: the folder or file of the data set.
      split: the split.
      paths: the files that are read, in order.
      reader: plain values, everything else that the arrays depend on.
      decode: makes arrays with its argument, fills them, and returns them.
      verify: see ``load_images``.
    """
    values = {"reader": _READER_VERSION, **reader}
    identity = {"path": str(source.resolve()), "split": split, **values}
    inner = [path.relative_to(source).as_posix() for path in paths]
    kept = load_or_make(
        entry_name(f"{source.resolve().name}-{split}", identity),
        fingerprint_files(paths, {**values, "paths": inner}),
        lambda: hash_files(paths),
        decode,
        verify=verify,
    )
    return decode(make_in_memory) if kept is None else kept


def check_size(
    source: Path, shape: tuple[int, ...], advice: str = "set a smaller data.size"
) -> None:
    """Raises ValueError if decoded images, uint8 [N, H, W, C], are larger than ``MAX_BYTES``."""
    number, height, width, channels = shape
    if (num_bytes := number * height * width * channels) > MAX_BYTES:
        raise ValueError(
            f"{number:,} pictures of {width}x{height} in {str(source)!r} take "
            f"{num_bytes / 2**30:,.0f} GiB decoded, {MAX_BYTES / 2**30:,.0f} are allowed: {advice}"
        )
