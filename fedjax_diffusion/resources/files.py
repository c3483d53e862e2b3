"""Allocation problems and answers as JSON files."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_diffusion.atomic import write_text
from fedjax_diffusion.resources.allocation import Allocation
from fedjax_diffusion.resources.problem import LEVELS, AllocationProblem
from fedjax_diffusion.resources.status import Status
from fedjax_diffusion.types import Array

_FIELDS = tuple(field.name for field in dataclasses.fields(AllocationProblem))
_TABLES = ("level_payload_bits", "level_error")
_MAY_BE_NULL = ("error_budget", *_TABLES)


def read_problem(path: str | os.PathLike) -> AllocationProblem:
    """Reads a problem from a JSON object of the fields of ``AllocationProblem``, by name.

    A field per client is a list, or one number for all. ``error_budget`` null (or Infinity) is no
    budget; ``level_payload_bits`` and ``level_error`` may be left out.

    Args:
      path: a file like ``{"compute_cycles": [2e9, 4e9], "max_power_watts": 0.2, ...}``.

    Raises:
      ValueError: one line that names the file, the field, the index and what is allowed. The file
        cannot be read or is not JSON; a field is unknown, missing, given twice, not a number, out
        of range, or does not fit the others.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        # Integers become floats too: one with 400 digits is then infinite, and refused as such.
        content = json.loads(text, parse_int=float, object_pairs_hook=_to_dict)
        _check_names(content)
        for name, value in content.items():
            _check_value(name, value)
        return AllocationProblem(**content)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_allocation(path: str | os.PathLike, allocation: Allocation) -> None:
    """Writes an allocation as a JSON object of its fields, by name; whole or not at all.

    Each ``status`` is its name in lower case; an infinite value is null.

    Args:
      path: the file, replaced if there is one; its folder exists.
      allocation: of K clients.

    Raises:
      ValueError: the file cannot be written.
    """
    content = {
        field.name: _to_json(getattr(allocation, field.name))
        for field in dataclasses.fields(allocation)
    }
    content["status"] = [Status(status).name.lower() for status in allocation.status]
    try:
        write_text(Path(path), json.dumps(content, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error.strerror}") from None


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{_quote(repeated)} is given more than once")
    return fields


def _check_names(content: Any) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"must be an object with the fields {', '.join(_FIELDS)}")
    unknown = [name for name in content if name not in _FIELDS]
    if unknown:
        raise ValueError(f"unknown field {_quote(unknown[0])}: must be one of {', '.join(_FIELDS)}")
    missing = [name for name in _FIELDS if name not in content and name not in _TABLES]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}")


def _check_value(name: str, value: Any) -> None:
    """Raises at the first entry of a field that is not what its kind of field holds."""
    if value is None and name in _MAY_BE_NULL:
        return
    if name in _TABLES:
        _check_rows(name, value)
    elif isinstance(value, list):
        _check_numbers(name, value)
    elif not isinstance(value, float):
        raise ValueError(f"{name} = {_quote(value)}: must be a number or a list of numbers")


def _check_rows(name: str, rows: Any) -> None:
    if not isinstance(rows, list):
        raise ValueError(f"{name} = {_quote(rows)}: must be null or a list, one row per client")
    for client, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(LEVELS):
            raise ValueError(f"{name}[{client}]: must be {len(LEVELS)} numbers, one per level")
        _check_numbers(f"{name}[{client}]", row)


def _check_numbers(place: str, values: list) -> None:
    for index, value in enumerate(values):
        if not isinstance(value, float):
            raise ValueError(f"{place}[{index}] = {_quote(value)}: must be a number")


def _quote(value: Any) -> str:
    """Returns a value as it stands in the file, cut to 40 characters."""
    return f"{json.dumps(value):.40}"


def _to_json(values: Array | np.ndarray) -> Any:
    """Returns an array as nested lists, or a scalar as a number, with None for infinity."""
    return np.where(np.isinf(values), np.array(None), np.asarray(values)).tolist()
