"""``.pth`` files written by hand, opcode by opcode: the oracle of the reader."""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
TYPES = {
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(np.int64): "LongStorage",
    np.dtype(np.int32): "IntStorage",
    np.dtype(np.uint8): "ByteStorage",
    np.dtype(np.bool_): "BoolStorage",
}


class Entry(NamedTuple):
    """A tensor of the file: a view of a storage, counted in elements."""

    storage: str
    offset: int
    shape: tuple
    strides: tuple
    view: tuple | None = None  # (key, offset, elements), which only the stream has


def value(x) -> bytes:
    """Returns the opcodes that push a plain value."""
    return pickle.dumps(x, 2)[2:-1]


def name(module: str, attribute: str) -> bytes:
    """Returns the opcode that pushes a global."""
    return f"c{module}\n{attribute}\n".encode()


def tensor(entry: Entry, storages: Mapping[str, np.ndarray], layout: str) -> bytes:
    """Returns the opcodes that push a tensor, as ``torch.save`` writes them."""
    storage = storages.get(entry.storage, np.zeros(1, np.float32))
    pid = b"(" + value("storage") + name("torch", TYPES[storage.dtype]) + value(entry.storage)
    pid += value("cpu") + value(storage.size)
    pid += (value(entry.view) if layout == "stream" else b"") + b"tQ"
    arguments = pid + value(entry.offset) + value(entry.shape) + value(entry.strides)
    hooks = name("collections", "OrderedDict") + b")R"
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"\x89" + hooks + b"tR"


def state(entries: Mapping[str, bytes]) -> bytes:
    """Returns the pickle of an OrderedDict of values given as opcodes, with its metadata."""
    ordered = name("collections", "OrderedDict") + b")R"
    items = b"".join(value(key) + opcodes for key, opcodes in entries.items())
    metadata = b"}" + value("_metadata") + ordered + b"s"
    return b"\x80\x02" + ordered + b"(" + items + b"u" + metadata + b"b."


def zip_bytes(pickled: bytes, storages: Mapping[str, np.ndarray], **records: bytes) -> bytes:
    """Returns a file of PyTorch >= 1.6."""
    content = {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n", **records}
    content |= {f"data/{key}": storage.tobytes() for key, storage in storages.items()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for record, data in content.items():
            archive.writestr(f"weights/{record}", data)
    return stream.getvalue()


def stream_bytes(pickled: bytes, storages: Mapping[str, np.ndarray]) -> bytes:
    """Returns a file of PyTorch < 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [pickle.dumps(x, 2) for x in (MAGIC_NUMBER, 1001, system)]
    parts += [pickled, pickle.dumps(list(storages), 2)]
    for storage in storages.values():
        parts += [struct.pack("<q", storage.size), storage.tobytes()]
    return b"".join(parts)


def file_bytes(layout: str, pickled: bytes, storages: Mapping[str, np.ndarray]) -> bytes:
    """Returns a file of the layout ``zip`` or ``stream``."""
    return {"zip": zip_bytes, "stream": stream_bytes}[layout](pickled, storages)


def weights_bytes(layout: str, tensors: Mapping[str, np.ndarray]) -> bytes:
    """Returns a file in which each of the tensors has a storage of its own."""
    storages = {str(i): np.ravel(x) for i, x in enumerate(tensors.values())}
    entries = {}
    for key, (label, x) in zip(storages, tensors.items(), strict=True):
        strides = tuple(np.cumprod((1, *x.shape[:0:-1]))[::-1].tolist()) if x.ndim else ()
        entries[label] = tensor(Entry(key, 0, x.shape, strides), storages, layout)
    return file_bytes(layout, state(entries), storages)
