"""ArrayRecord files, read with the format's own reader."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

from fedjax_diffusion.data.image_cache import hash_files

_CHUNK = 256
"""Number of records per read."""


def read_array_records(
    path: Path, num_records: int, start: int, stop: int
) -> Generator[bytes, None, None]:
    """Yields records ``start`` to ``stop - 1`` of a file.

    Every chunk of the file has a checksum, which the format's reader checks.

    Args:
      path: the file.
      num_records: the number of records it must hold.
      start: in 0..stop.
      stop: at most ``num_records``.

    Raises:
      ValueError: the file holds fewer records or more, or is damaged.
      OSError: the file cannot be read.
      ImportError: the reader is not installed.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader: Any = ArrayRecordReader(str(path))
        found = reader.num_records()
        if found != num_records:
            reader.read([0])  # raises the cause if the file is damaged
            raise ValueError(f"it holds {found} records instead of {num_records}")
        for first in range(start, stop, _CHUNK):
            yield from reader.read([*range(first, min(first + _CHUNK, stop))])
    except (RuntimeError, IndexError) as error:
        hash_files([path])  # raises OSError if the system is the cause and not the file
        raise ValueError(str(error)) from error
