"""A reader of ``.npz`` files that looks at every size before it unpacks anything."""

import io
import math
import tokenize
import zipfile
import zlib

import numpy as np

MAX_BYTES = 1 << 28
"""Of all tensors together; those of Inception have 182 MiB in float64."""
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_SUFFIX = ".npy"


def parse_npz(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Returns the tensors of an ``.npz`` file by name.

    Args:
      content: of the file.
      source: how errors call it.

    Raises:
      ValueError: the file is damaged, or holds something else than tensors of plain numbers.

    Guarantees:
      All tensors together take at most ``MAX_BYTES``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = archive.infolist()
            if sum(record.file_size for record in records) > MAX_BYTES:
                raise ValueError(f"it unpacks to more than {MAX_BYTES} bytes")
            return {
                record.filename.removesuffix(_SUFFIX): _parse_npy(archive.read(record))
                for record in records
            }
    except (
        ValueError,
        KeyError,
        EOFError,
        OSError,
        RuntimeError,  # encrypted; NotImplementedError: an unknown compression
        tokenize.TokenError,
        SyntaxError,  # the header is Python's notation of a dict
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"{source} cannot be read as an .npz file: {error}") from error


def _parse_npy(content: bytes) -> np.ndarray:
    """Returns the array of an ``.npy`` file, whose header must fit its size."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its arrays are of format {version}")
    shape, is_fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject or any(size < 0 for size in shape):
        raise ValueError("an array does not hold plain numbers")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"an array of shape {shape} does not fit its {len(content)} bytes")
    array = np.frombuffer(content, dtype, offset=file.tell())
    return array.reshape(shape, order="F" if is_fortran else "C")
