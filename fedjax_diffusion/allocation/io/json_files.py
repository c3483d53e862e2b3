"""Files of allocation problems and allocations."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_diffusion.allocation.allocation import Allocation
from fedjax_diffusion.allocation.io.clients_csv import read_clients, write_clients
from fedjax_diffusion.allocation.problem import PER_CLIENT, AllocationProblem
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.old_names import to_current_names
from fedjax_diffusion.types import Array

_FIELDS = tuple(field.name for field in dataclasses.fields(AllocationProblem))
_TABLES = ("bit_width_payload_bits", "bit_width_error")
_PER_CLIENT_ANSWERS = (
    "num_bits",
    "bandwidth_hz",
    "compute_seconds",
    "upload_seconds",
    "transmit_power_watts",
    "compute_joules",
    "transmit_joules",
    "requested_bits",
)
_OPTIONAL = tuple(
    field.name
    for field in dataclasses.fields(AllocationProblem)
    if field.default is not dataclasses.MISSING
)
_LARGEST = int(np.finfo(float).max)  # int: comparing a float with longer ones overflows
_MAX_HEADER = 10_000
"""Characters of a CSV file's first line that are looked at."""
_MAY_BE_NULL = ("error_budget", *_TABLES)


def read_problem(
    path: str | os.PathLike, clients: str | os.PathLike | None = None
) -> AllocationProblem:
    """Reads a problem from a JSON object of the fields of ``AllocationProblem``, by name.

    A field per client is a list, or one number for all. ``error_budget`` null or Infinity means no
    budget. ``bit_width_payload_bits``, ``bit_width_error`` and ``is_present`` (true or false) are
    optional.

    Args:
      path: a file like ``{"compute_cycles": [2e9, 4e9], "max_power_watts": 0.2, ...}``.
      clients: a CSV file with one row per client, whose columns are fields that the JSON file does
        not give; None if the JSON file gives all.

    Raises:
      ValueError: a file cannot be read or is not JSON or CSV; a field is unknown, missing, given
        twice, not a number, out of range, or does not fit the others. The message is one line with
        the file, the field, the index (in the CSV file the line) and the range.
    """
    columns = {} if clients is None else read_clients(clients)
    with _naming(path):
        text = Path(path).read_text(encoding="utf-8-sig")
        # Integers become floats too: one of 400 digits becomes infinite and is refused.
        content = json.loads(text, parse_int=float, object_pairs_hook=_to_dict)
        content = to_current_names("problem", content)
        _check_names(content, columns, clients)
        for name, value in content.items():
            _check_value(name, value)
            if columns and isinstance(value, list) and name in (*PER_CLIENT, *_TABLES):
                _check_length(name, value, columns, clients)
        return AllocationProblem(**content, **columns)


def write_allocation(path: str | os.PathLike, allocation: Allocation) -> None:
    """Writes an allocation atomically, by the names of its fields.

    Each ``status`` is its name in lower case; in JSON an infinite value is null.

    Args:
      path: ``.json`` for an object of all fields, ``.csv`` for a row per client of the fields that
        differ between clients. The file is replaced if it exists; its folder must exist.
      allocation: of K clients.

    Raises:
      ValueError: another suffix, or the file cannot be written.
    """
    check_suffix(path)
    try:
        if _is_table(path):
            write_clients(path, allocation)
        else:
            write_text(Path(path), _to_json_text(allocation))
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error.strerror}") from None


def is_own_answer(path: Path) -> bool:
    """Returns whether a file is one that ``write_allocation`` made: it may be replaced."""
    try:
        if _is_table(path):
            with path.open(encoding="utf-8-sig") as file:
                return {"num_bits", "status"} <= set(file.readline(_MAX_HEADER).strip().split(","))
        read_allocation(path)
    except (OSError, ValueError):
        return False
    return True


def read_allocation(path: str | os.PathLike) -> Allocation:
    """Reads an allocation that ``write_allocation`` wrote as JSON.

    Args:
      path: a ``.json`` file with all fields of ``Allocation``.

    Returns:
      The allocation, equal to the written one bit for bit.

    Raises:
      ValueError: the file is not such a JSON file. The message is one line with the file, the
        field, the index and the range.
    """
    with _naming(path):
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_to_dict)
        return _to_allocation(content)


def check_suffix(path: str | os.PathLike) -> None:
    """Raises ValueError unless ``write_allocation`` can write a file of this name."""
    if Path(path).suffix.lower() not in (".json", ".csv"):
        raise ValueError(f"{path}: must end in .json or .csv")


def _is_table(path: str | os.PathLike) -> bool:
    return Path(path).suffix.lower() == ".csv"


@contextlib.contextmanager
def _naming(path: str | os.PathLike) -> Iterator[None]:
    """Turns any error about a JSON file into a ValueError of one line with the file's name."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text: byte {error.start}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _to_allocation(content: Any) -> Allocation:
    names = [field.name for field in dataclasses.fields(Allocation)]
    if not isinstance(content, dict) or {*content} != {*names}:
        raise ValueError(f"must be an object with the fields {', '.join(names)}")
    by_name = {status.name.lower(): int(status) for status in Status}
    statuses = content["status"]
    num_clients = len(statuses) if isinstance(statuses, list) else 0
    for client, status in enumerate(statuses if num_clients else []):
        if not isinstance(status, str) or status not in by_name:
            raise ValueError(
                f"status[{client}] = {_quote(status)}: must be one of {', '.join(by_name)}"
            )
    if not num_clients:
        raise ValueError("status: must be a list, one name per client")
    fields: dict[str, Any] = {
        name: _to_numbers(name, content[name], num_clients) for name in names if name != "status"
    }
    fields["status"] = np.array([by_name[status] for status in statuses], np.int32)
    return Allocation(**fields)


def _to_numbers(name: str, value: Any, num_clients: int) -> np.ndarray:
    """Returns a field as before writing: null becomes infinity, whole bits become int32."""
    numbers = value if isinstance(value, list) else [value]
    if name in _PER_CLIENT_ANSWERS and len(numbers) != num_clients:
        raise ValueError(f"{name}: must be a list of {num_clients} numbers, one per client")
    if (name in _PER_CLIENT_ANSWERS) != isinstance(value, list):
        raise ValueError(f"{name}: must be a number")
    if name == "is_band_shared":
        if not isinstance(value, bool):
            raise ValueError(f"{name} = {_quote(value)}: must be true or false")
        return np.asarray(value)
    for index, number in enumerate(numbers):
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if number is not None and not (is_number and -_LARGEST <= number <= _LARGEST):
            raise ValueError(f"{name}[{index}] = {_quote(number)}: must be a number or null")
    array = np.array([np.inf if number is None else number for number in numbers])
    is_whole = name in ("num_bits", "requested_bits") and array.dtype.kind == "i"
    array = array.astype(np.int32 if is_whole else np.float64)
    return array if isinstance(value, list) else array[0]


def _to_json_text(allocation: Allocation) -> str:
    content = {
        field.name: _to_json(getattr(allocation, field.name))
        for field in dataclasses.fields(allocation)
    }
    content["status"] = [Status(status).name.lower() for status in allocation.status]
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{_quote(repeated)} is given more than once")
    return fields


def _check_names(
    content: Any, columns: Mapping[str, list[float]], clients: str | os.PathLike | None
) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"must be an object with the fields {', '.join(_FIELDS)}")
    unknown = [name for name in content if name not in _FIELDS]
    if unknown:
        raise ValueError(f"unknown field {_quote(unknown[0])}: must be one of {', '.join(_FIELDS)}")
    repeated = [name for name in content if name in columns]
    if repeated:
        raise ValueError(f"{repeated[0]} is given here and in {clients}: must be in one of them")
    given = {*content, *columns, *_OPTIONAL}
    missing = [name for name in _FIELDS if name not in given]
    if missing:
        where = "" if clients is None else f", here or as a column of {clients}"
        raise ValueError(f"missing {', '.join(missing)}{where}")


def _check_length(
    name: str, value: list, columns: Mapping[str, list[float]], clients: str | os.PathLike | None
) -> None:
    num_clients = len(next(iter(columns.values())))
    if len(value) != num_clients:
        raise ValueError(
            f"{name} has {len(value)} clients, {clients} has {num_clients}: the numbers must be "
            "equal, or one for all"
        )


def _check_value(name: str, value: Any) -> None:
    """Raises ValueError at the first entry whose type the field does not allow."""
    if value is None and name in _MAY_BE_NULL:
        return
    if name in _TABLES:
        _check_rows(name, value)
    elif name == "is_present":
        _check_flags(name, value)
    elif isinstance(value, list):
        _check_numbers(name, value)
    elif not isinstance(value, float):
        raise ValueError(f"{name} = {_quote(value)}: must be a number or a list of numbers")


def _check_flags(name: str, value: Any) -> None:
    for index, flag in enumerate(value if isinstance(value, list) else [value]):
        if not isinstance(flag, bool):
            place = f"[{index}]" if isinstance(value, list) else ""
            raise ValueError(f"{name}{place} = {_quote(flag)}: must be true or false")


def _check_rows(name: str, rows: Any) -> None:
    if not isinstance(rows, list):
        raise ValueError(f"{name} = {_quote(rows)}: must be null or a list, one row per client")
    for client, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(BIT_WIDTHS):
            raise ValueError(
                f"{name}[{client}]: must be {len(BIT_WIDTHS)} numbers, one per bit width"
            )
        _check_numbers(f"{name}[{client}]", row)


def _check_numbers(place: str, values: list) -> None:
    for index, value in enumerate(values):
        if not isinstance(value, float):
            raise ValueError(f"{place}[{index}] = {_quote(value)}: must be a number")


def _quote(value: Any) -> str:
    """Returns a value as JSON text, cut to 40 characters."""
    return f"{json.dumps(value):.40}"


def _to_json(values: Array | np.ndarray) -> Any:
    """Returns an array as nested lists or a scalar as a number; infinity becomes None."""
    return np.where(np.isinf(values), np.array(None), np.asarray(values)).tolist()
