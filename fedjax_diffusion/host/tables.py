"""Text tables with aligned columns, and the format of their cells."""

from collections.abc import Mapping, Sequence
from typing import Any


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns rows as text in columns: the first is aligned left, all others right.

    Args:
      rows: at least one; all have the same keys in the same order, which are the header.

    >>> print(format_table([{"device": "phone", "J": 1.5}, {"device": "sensor", "J": None}]))
    device    J
    -----------
    phone   1.5
    sensor    -
    """
    header = list(rows[0])
    cells = [header, *([format_cell(row[name]) for name in header] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def format_cell(value: Any) -> str:
    """Returns a value as text: floats in four digits, above 1,000 without a fraction; None as "-".

    >>> format_cell(0.123456), format_cell(12345.6), format_cell(7), format_cell(None)
    ('0.1235', '12,346', '7', '-')
    """
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "-" if value is None else str(value)


def parse_cell(text: str, kind: Any) -> Any:
    """Returns the value of a field of a CSV file.

    Args:
      text: of the field.
      kind: ``int``, ``float``, ``str``, or ``float | None``, for which an empty field is None.

    Raises:
      ValueError: it is no number.

    >>> parse_cell("3", int), parse_cell("", float | None), parse_cell("0.5", float | None)
    (3, None, 0.5)
    """
    if kind in (int, float, str):
        return kind(text)
    return float(text) if text else None


def format_digits(value: float | None, digits: int) -> str | None:
    """Returns a number as text with ``digits`` decimals; None stays None.

    >>> format_digits(1234.5678, 2), format_digits(None, 2)
    ('1,234.57', None)
    """
    return None if value is None else f"{value:,.{digits}f}"


def format_percent(percent: float | None) -> str | None:
    """Returns a percentage as text; None stays None.

    >>> format_percent(83.64), format_percent(None)
    ('83.6 %', None)
    """
    return None if percent is None else f"{percent:.1f} %"


def describe_saving(percent: float | None, what: str) -> str:
    """Returns a saving as a clause of a sentence; a negative one is a cost.

    Args:
      percent: saved, at most 100; None if there is nothing that it could be a share of.
      what: is saved, a noun without an article.

    >>> describe_saving(64.0, "energy"), describe_saving(-2.14, "energy")
    ('saves 64.0 % of the energy', 'costs 2.1 % more energy')
    >>> describe_saving(None, "energy")
    'has no energy to be compared with'
    """
    if percent is None:
        return f"has no {what} to be compared with"
    size = f"{abs(percent):.1f} %"
    is_saved = percent >= 0 or size == "0.0 %"
    return f"saves {size} of the {what}" if is_saved else f"costs {size} more {what}"


def format_span(low: Any, high: Any, spec: str = "", joint: str = " to ") -> str:
    """Returns both ends of a range as text, or one value if they are equal.

    Args:
      low: the smallest value, a number or text.
      high: the largest value.
      spec: the format of each, as in f-strings.
      joint: text between them.

    >>> format_span(2, 16), format_span(50.2, 499.8, ".0f", "-"), format_span(4.0, 4.0, "g")
    ('2 to 16', '50-500', '4')
    """
    return f"{low:{spec}}" if low == high else f"{low:{spec}}{joint}{high:{spec}}"
