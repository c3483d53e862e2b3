"""The pickle inside a ``.pth`` file, read as a description of tensors.

A pickle can call any function that it names. This reader permits only the names of PyTorch's
storage types and of four functions, which only record their arguments. Before the pickle runs, it
refuses every opcode that ``torch.save`` does not use.
"""

import io
import pickle
import pickletools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

STORAGE_DTYPES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
"""The supported types of storages, by PyTorch's names."""


class _StorageType(NamedTuple):
    """A storage type such as ``torch.FloatStorage``."""

    name: str


class Storage(NamedTuple):
    """A storage in the pickle; its ``num_elements`` elements begin at ``start``."""

    key: str
    type_name: str
    start: int
    num_elements: int


class Tensor(NamedTuple):
    """A tensor as a view of a storage; offset and strides are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Named(dict):
    """A ``collections.OrderedDict`` without its attributes (``_metadata``)."""

    __slots__ = ()

    def __setstate__(self, state):
        pass


class _Call(NamedTuple):
    """A function that the pickle may call; a tuple, so that the pickle cannot change it."""

    name: str

    def __call__(self, *arguments):
        if self.name == "OrderedDict":
            return _Named(*arguments)
        if self.name == "_rebuild_parameter":  # (data, requires_grad, backward_hooks)
            return arguments[0]
        storage, offset, shape, strides = arguments[:4]  # then requires_grad and hooks
        if not isinstance(storage, Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        return Tensor(storage, offset, tuple(shape), tuple(strides))


# What torch.save writes, at pickle protocols 2 to 4.
_OPCODES = """
PROTO FRAME STOP GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID
MARK EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINUNICODE SHORT_BINUNICODE
BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET
"""
_OPCODE_NAMES = frozenset(_OPCODES.split())

_CALLS = {
    ("collections", "OrderedDict"): _Call("OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"): _Call("_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor"): _Call("_rebuild_tensor"),
    ("torch._utils", "_rebuild_parameter"): _Call("_rebuild_parameter"),
}


class _ForbiddenError(ValueError):
    """A name or an opcode in the pickle that no state dict needs."""


def _find_name(module: str, name: str) -> Any:
    if module == "torch" and name in STORAGE_DTYPES:
        return _StorageType(name)
    if (module, name) not in _CALLS:
        raise _ForbiddenError(f"it names {module}.{name}, which no file of weights needs")
    return _CALLS[module, name]


class _Unpickler(pickle.Unpickler):
    """An unpickler whose pickles can describe tensors and do nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        return _find_name(module, name)

    def persistent_load(self, pid: Any) -> Storage:
        kind, storage_type, key, _location, num_elements = pid[:5]
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError("a persistent id that is no storage")
        view = pid[5] if len(pid) > 5 else None  # only in the stream: (key, offset, elements)
        start, num_viewed = (0, num_elements) if view is None else view[1:]
        return Storage(key, storage_type.name, start, num_viewed)


def _scan(stream: io.BytesIO) -> None:
    """Checks a pickle before it runs; leaves the stream after it."""
    argument: Any
    for opcode, argument, position in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            _find_name(*argument.split(" ", 1))
        if opcode.name not in _OPCODE_NAMES:
            raise _ForbiddenError(f"its pickle uses {opcode.name}, which no file of weights needs")
        # The unpickler's memo is a list: a huge index would fill the memory.
        if opcode.name == "LONG_BINPUT" and argument > (position or 0):
            raise _ForbiddenError(f"its pickle has the memo index {argument}")


def unpickle(stream: io.BytesIO) -> Any:
    """Returns the value of the next pickle of a stream, and leaves the stream after it.

    Raises:
      ValueError: the pickle is damaged, or has a name or an opcode that no state dict needs.
    """
    start = stream.tell()
    try:
        _scan(stream)
        stream.seek(start)
        return _Unpickler(stream).load()
    except _ForbiddenError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly any error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"its pickle is damaged ({reason})") from error


def to_named_tensors(unpickled: Any) -> dict[str, Tensor]:
    """Returns the tensors of an unpickled state dict; raises ValueError if it is not a flat one."""
    if not isinstance(unpickled, dict):
        raise ValueError(f"it holds a {type(unpickled).__name__}, not a dict of tensors")
    for name, value in unpickled.items():
        if not isinstance(name, str):
            raise ValueError(f"it has an entry under a {type(name).__name__}, not under a name")
        if not isinstance(value, Tensor):
            raise ValueError(f"its entry {name} is a {type(value).__name__}, not a tensor")
        if not isinstance(value.storage.key, str):
            raise ValueError(f"the storage of its tensor {name} has no name")
    return dict(unpickled)
