"""Tables in CSV files: a header of names, then rows of numbers and texts, checked cell by cell."""

import csv
import io
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple


class TableForm(NamedTuple):
    """Columns that a table may have, and the values that they may hold.

    Attributes:
      row: noun for a row, such as ``"client"``.
      names: of the columns, in any order; a table needs one of them.
      check: ``check(name, value) -> (is_allowed, range in words)`` of a number.
      texts: those of ``names`` whose cells are text.
    """

    row: str
    names: Collection[str]
    check: Callable[[str, float], tuple[bool, str]]
    texts: Collection[str] = ()


def read_table(path: str | os.PathLike, form: TableForm) -> dict[str, list[Any]]:
    """Reads a CSV file.

    UTF-8, with or without a byte order mark; any line ends. Blank lines and spaces around a cell
    are skipped.

    Args:
      path: of the file.
      form: of the table.

    Returns:
      The values of each column that the file has, a float or a text per row.

    Raises:
      ValueError: the file cannot be read, is empty or is not CSV; a column is unknown or given
        twice; a row is too short or too long; a cell is empty, not a number or out of range. The
        message is one line with the file, the line number, the row, the column, the value and its
        range.
    """
    try:
        return parse_table(Path(path).read_bytes().decode("utf-8-sig"), form)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text: byte {error.start}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_table(text: str, form: TableForm) -> dict[str, list[Any]]:
    """Returns the columns of a CSV text; raises as ``read_table``, without the file's name."""
    rows = _rows(text)
    header_line, header = next(rows, (1, []))
    names = [name.strip() for name in header]
    _check_header(header_line, names, form)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for number, (line, cells) in enumerate(rows):
        place = f"line {line} ({form.row} {number})"
        if len(cells) != len(names):
            raise ValueError(
                f"{place}: {len(cells)} cell{'s' * (len(cells) > 1)}: must be {len(names)}, one "
                f"per column of line {header_line}"
            )
        for name, cell in zip(names, cells, strict=True):
            read = _to_text if name in form.texts else _to_number
            columns[name].append(read(place, name, cell.strip(), form))
    if not columns[names[0]]:
        raise ValueError(f"has a header but no {form.row}s: one row per {form.row} must follow")
    return columns


def columns_to_csv(columns: dict[str, list[Any]]) -> str:
    """Returns columns of equal length as CSV text, its lines ended by a line feed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the number and the cells of every line that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} is not CSV: {error}") from None


def _check_header(line: int, names: list[str], form: TableForm) -> None:
    allowed = ", ".join(form.names)
    if not names:
        raise ValueError(f"is empty: must have a header with some of {allowed}")
    for column, name in enumerate(names, start=1):
        if name not in form.names:
            hint = " (columns are separated by commas)" if ";" in name or "\t" in name else ""
            raise ValueError(
                f"line {line}, column {column}: unknown name {name!r:.60}{hint}: must be one of "
                f"{allowed}"
            )
        if names.count(name) > 1:
            raise ValueError(f"line {line}: column {name} is given more than once")


def _to_text(place: str, name: str, cell: str, form: TableForm) -> str:
    if not cell or not cell.isprintable():
        raise ValueError(f"{place}: {name} = {cell!r:.40}: must be a word that can be printed")
    return cell


def _to_number(place: str, name: str, cell: str, form: TableForm) -> float:
    is_plain = cell.isascii() and "_" not in cell  # float() accepts more than that
    try:
        value = float(cell) if is_plain else None
    except ValueError:
        value = None
    if value is None:
        found = f"= {cell!r:.40}" if cell else "is empty"
        _, allowed = form.check(name, 0.0)
        raise ValueError(f"{place}: {name} {found}: must be a number, {allowed}")
    is_allowed, allowed = form.check(name, value)
    if not is_allowed:
        raise ValueError(f"{place}: {name} = {cell:.40}: must be {allowed}")
    return value
