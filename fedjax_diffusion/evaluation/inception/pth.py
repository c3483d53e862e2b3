"""A reader of PyTorch ``.pth`` files without PyTorch and without running their pickles.

A ``.pth`` file has a pickle and the raw bytes of its storages. The pickle is read only as a
*description* of each tensor (storage, offset, shape, strides; see ``pth_pickle``). Then arrays are
made from the descriptions, after a check against the available bytes.

Both layouts of ``torch.save`` are read: the zip archive of PyTorch >= 1.6 (``data.pkl`` and one
record per storage) and the older stream of pickles (magic number, protocol, system, the object,
the storage keys), followed by the storages.
"""

import io
import pickle
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from fedjax_diffusion.evaluation.inception.pth_pickle import (
    STORAGE_DTYPES,
    Tensor,
    to_named_tensors,
    unpickle,
)

_ZIP_SIGNATURE = b"PK\x03\x04"
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_MAGIC_PICKLES = tuple(pickle.dumps(_MAGIC_NUMBER, protocol) for protocol in range(2, 6))
_PROTOCOL_VERSION = 1001


def read_pth(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict from ``torch.save``, by name.

    Args:
      path: a file of either layout with one flat mapping of names to tensors.

    Returns:
      Read-only arrays in the file's order, with the dtypes, shapes and strides of the tensors.
      Tensors that share a storage share memory here too.

    Raises:
      ValueError: the file is not of this kind, is cut off or damaged, or has a name that no state
        dict needs.
      OSError: the file cannot be opened.

    Guarantees:
      No name in the file is imported or called. A tensor's description is checked against its
      storage first; no tensor takes more memory than the file.
    """
    return parse_pth(Path(path).read_bytes(), str(path))


def parse_pth(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Returns the tensors of ``read_pth`` from the file's bytes; errors name ``source``."""
    try:
        is_zip = content.startswith(_ZIP_SIGNATURE)
        tensors, storages = _read_zip(content) if is_zip else _read_stream(content)
        return {name: _view(name, tensor, storages) for name, tensor in tensors.items()}
    except ValueError as error:
        # The reason may quote names from the file, which may contain any characters.
        reason = "".join(c if c.isprintable() else "?" for c in str(error))
        raise ValueError(f"{source} cannot be read as a .pth file: {reason}") from error


def _read_zip(content: bytes) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """Returns tensors and storages in a zip archive of PyTorch >= 1.6."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read_archive(archive)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"its zip archive is cut off or damaged ({error})") from error


def _read_archive(archive: zipfile.ZipFile) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    records = archive.namelist()
    pickles = [record for record in records if record.split("/")[-1] == "data.pkl"]
    if len(pickles) != 1:
        raise ValueError(f"it holds {len(pickles)} records named data.pkl, expected 1")
    folder = pickles[0].removesuffix("data.pkl")
    byteorder = f"{folder}byteorder"
    if byteorder in records and _read_record(archive, byteorder) != b"little":
        raise ValueError("it was written on a big-endian machine, which is not supported")
    tensors = to_named_tensors(unpickle(io.BytesIO(_read_record(archive, pickles[0]))))
    storages = {}
    for key, type_name in _to_type_names(tensors).items():
        storage = _read_record(archive, f"{folder}data/{key}")
        storages[key] = _to_array(key, type_name, storage)
    return tensors, storages


def _read_record(archive: zipfile.ZipFile, name: str) -> bytes:
    if name not in archive.namelist():
        raise ValueError(f"its record {name} is missing")
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"its record {name} is compressed, which torch.save never does")
    return archive.read(name)


def _read_stream(content: bytes) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """Returns tensors and storages in a stream of pickles of PyTorch < 1.6."""
    stream = io.BytesIO(content)
    if not content.startswith(_MAGIC_PICKLES):
        raise ValueError("it starts neither like a zip archive nor like a stream of torch.save")
    unpickle(stream)
    if unpickle(stream) != _PROTOCOL_VERSION:
        raise ValueError(f"its protocol is another than {_PROTOCOL_VERSION}")
    unpickle(stream)  # the sizes of C types are not used
    tensors = to_named_tensors(unpickle(stream))
    keys = unpickle(stream)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("its storage keys are no list of names")
    return tensors, _read_stream_storages(stream, keys, _to_type_names(tensors))


def _read_stream_storages(
    stream: io.BytesIO, keys: Iterable[str], type_names: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Returns the storages; each is an int64 count and that many elements, little-endian."""
    storages = {}
    for key in keys:
        if key not in type_names:
            raise ValueError(f"its storage {key} belongs to no tensor, so its size is unknown")
        header = stream.read(8)
        num_elements = int.from_bytes(header, "little") if len(header) == 8 else sys.maxsize
        num_bytes = num_elements * STORAGE_DTYPES[type_names[key]].itemsize
        storage = stream.read(min(num_bytes, sys.maxsize))
        if len(storage) != num_bytes:
            raise ValueError(f"it is cut off in storage {key}")
        storages[key] = _to_array(key, type_names[key], storage)
    return storages


def _to_type_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Returns the storage type of each storage key."""
    type_names = {}
    for name, (storage, *_) in tensors.items():
        if type_names.setdefault(storage.key, storage.type_name) != storage.type_name:
            raise ValueError(f"tensor {name} shares storage {storage.key} under another type")
    return type_names


def _to_array(key: str, type_name: str, content: bytes) -> np.ndarray:
    dtype = STORAGE_DTYPES[type_name].newbyteorder("<")
    if len(content) % dtype.itemsize:
        raise ValueError(f"its storage {key} has {len(content)} bytes, no whole {type_name}")
    return np.frombuffer(content, dtype)


def _view(name: str, tensor: Tensor, storages: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the described array; checks that the storage holds all of it."""
    storage, offset, shape, strides = tensor
    if storage.key not in storages:
        raise ValueError(f"the storage {storage.key} of tensor {name} is missing")
    array = storages[storage.key]
    numbers = (storage.start, storage.num_elements, offset, *shape, *strides)
    if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError(f"tensor {name} has no valid offset, shape and strides")
    axes = list(zip(shape, strides, strict=True))
    num_needed = 1 + offset + sum((size - 1) * stride for size, stride in axes)
    if 0 in shape:
        return np.empty(shape, array.dtype)
    if num_needed > storage.num_elements or storage.start + storage.num_elements > array.size:
        raise ValueError(f"tensor {name} reaches beyond its storage {storage.key}")
    # The stride of an axis of length 1 has no effect and may be any number.
    byte_strides = [stride * array.itemsize if size > 1 else 0 for size, stride in axes]
    start = array[storage.start + offset :]
    return np.lib.stride_tricks.as_strided(start, shape, byte_strides, writeable=False)
