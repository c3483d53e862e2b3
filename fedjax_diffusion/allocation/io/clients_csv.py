"""CSV files of clients: a header of names, then one row per client."""

import csv
import dataclasses
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fedjax_diffusion.allocation.allocation import Allocation
from fedjax_diffusion.allocation.problem import PER_CLIENT, is_in_range
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.host.atomic import write_text

_CLIENT = "client"


def read_clients(path: str | os.PathLike) -> dict[str, list[float]]:
    """Reads fields of an allocation problem that differ between clients.

    UTF-8, with or without a byte order mark; any line ends. Blank lines and spaces around a cell
    are skipped.

    Args:
      path: a file whose header names fields of ``AllocationProblem`` that may differ between
        clients, in any order, followed by one row per client.

    Returns:
      K numbers by field.

    Raises:
      ValueError: the file cannot be read, is empty or is not CSV; a column is unknown or given
        twice; a row is too short or too long; a cell is empty, not a number or out of range. The
        message is one line with the file, the line number, the client, the column, the value and
        its range.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        return _parse(text)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text: byte {error.start}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_clients(path: str | os.PathLike, allocation: Allocation) -> None:
    """Writes the fields per client of an allocation, one row per client, atomically.

    Args:
      path: the file, replaced if it exists; its folder must exist.
      allocation: of K clients. Fields with one number for all of them are left out.

    Raises:
      OSError: the file cannot be written.
    """
    columns = {
        field.name: values.tolist()
        for field in dataclasses.fields(allocation)
        if (values := np.asarray(getattr(allocation, field.name))).ndim == 1
    }
    columns["status"] = [Status(status).name.lower() for status in columns["status"]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((_CLIENT, *columns))
    writer.writerows(zip(range(len(columns["status"])), *columns.values(), strict=True))
    write_text(Path(path), text.getvalue())


def _parse(text: str) -> dict[str, list[float]]:
    rows = _rows(text)
    header_line, header = next(rows, (1, []))
    names = [name.strip() for name in header]
    _check_header(header_line, names)
    columns: dict[str, list[float]] = {name: [] for name in names}
    for client, (line, cells) in enumerate(rows):
        place = f"line {line} (client {client})"
        if len(cells) != len(names):
            raise ValueError(
                f"{place}: {len(cells)} cell{'s' * (len(cells) > 1)}: must be {len(names)}, one "
                f"per column of line {header_line}"
            )
        for name, cell in zip(names, cells, strict=True):
            columns[name].append(_to_number(place, name, cell.strip()))
    if not columns[names[0]]:
        raise ValueError("has a header but no clients: one row per client must follow")
    return columns


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the number and the cells of every line that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} is not CSV: {error}") from None


def _check_header(line: int, names: list[str]) -> None:
    allowed = ", ".join(PER_CLIENT)
    if not names:
        raise ValueError(f"is empty: must have a header with some of {allowed}")
    for column, name in enumerate(names, start=1):
        if name not in PER_CLIENT:
            hint = " (columns are separated by commas)" if ";" in name or "\t" in name else ""
            raise ValueError(
                f"line {line}, column {column}: unknown name {name!r:.60}{hint}: must be one of "
                f"{allowed}"
            )
        if names.count(name) > 1:
            raise ValueError(f"line {line}: column {name} is given more than once")


def _to_number(place: str, name: str, cell: str) -> float:
    is_plain = cell.isascii() and "_" not in cell  # float() accepts more than that
    try:
        value = float(cell) if is_plain else None
    except ValueError:
        value = None
    _, allowed = is_in_range(name, np.zeros(1))
    if value is None:
        found = f"= {cell!r:.40}" if cell else "is empty"
        raise ValueError(f"{place}: {name} {found}: must be a number, {allowed}")
    if not is_in_range(name, np.array([value]))[0].all():
        raise ValueError(f"{place}: {name} = {cell:.40}: must be {allowed}")
    return value
