"""Table of a page: cells with the text that is shown and the value by which they are sorted."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedjax_diffusion.host.tables import format_cell

_LONG = 10_000
"""Whole numbers from here on have their thousands divided."""


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
      text: as shown.
      value: as sorted, the exact number; empty if it is the text.
    """

    text: str
    value: str = ""


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
      name: its heading.
      is_number: whether it is sorted by size and aligned to the right.
      is_shown: whether it is shown before the reader chooses columns.
    """

    name: str
    is_number: bool
    is_shown: bool


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
      name: of the table, unique on its page.
      columns: those with a value in some row.
      rows: cells in the order of the columns.
    """

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


def make_sheet(
    name: str, rows: Sequence[Mapping[str, Any]], shown: Collection[str] | None = None
) -> Sheet:
    """Returns rows as a table; a column without any value is left out.

    Args:
      name: of the table.
      rows: values by column, all with the same keys.
      shown: columns that are shown at first; None: all.
    """
    names = dict.fromkeys(key for row in rows for key in row)
    used = [key for key in names if any(row[key] is not None for row in rows)]
    columns = [
        Column(key, all(_is_number(row[key]) for row in rows), shown is None or key in shown)
        for key in used
    ]
    return Sheet(name, columns, [[_to_cell(row[key]) for key in used] for row in rows])


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _to_cell(value: Any) -> Cell:
    if value is None:
        return Cell("")
    if isinstance(value, float):
        return Cell(format_cell(value), repr(value) if math.isfinite(value) else "")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LONG:
        return Cell(f"{value:,}", str(value))
    return Cell(value if isinstance(value, str) else json.dumps(value))
