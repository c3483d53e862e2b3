"""Settings of a report: its points grouped over their seeds."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fedjax_diffusion.experiment.meanings import split_unit
from fedjax_diffusion.report.tables import ReportTables
from fedjax_diffusion.sweep.identity import shorten, shorten_rows

SEED = "seed"
VARIANT = "variant"
METHOD = "allocator.method"
UNQUANTIZED_BITS = 32
_FIXED = re.compile(r"fixed_bits:(\d+)(.*)")
_UNQUANTIZED = re.compile(r"full_precision(.*)")
_NUMBER = "num_"
"""Beginning of the names of numbers of things."""
_MEASURE = ("quality_name", "num_samples", "extractor", "measure_version")


@dataclasses.dataclass(frozen=True)
class Setting:
    """The points of one setting, which differ in their seeds alone.

    Attributes:
      name: its values of the axes, or its variant.
      family: the same without the number of bits; settings of one family are joined by a line.
      num_bits: bits per parameter that the method fixes; None: it chooses them.
      rows: of the index, by seed.
      is_reference: whether the others are held against it.
    """

    name: str
    family: str
    num_bits: int | None
    rows: Mapping[int, Mapping[str, Any]]
    is_reference: bool

    def values(self, column: str) -> dict[int, float]:
        """Returns the finite values of a column of the index, by seed."""
        known = {seed: row.get(column) for seed, row in self.rows.items()}
        return {s: float(v) for s, v in known.items() if v is not None and math.isfinite(v)}

    def mean(self, column: str) -> float:
        """Returns the mean of a column's values over the seeds; NaN if there is none."""
        values = self.values(column)
        return sum(values.values()) / len(values) if values else math.nan

    @property
    def hashes(self) -> dict[int, str]:
        """Hash of the point by seed."""
        return {seed: row["hash"] for seed, row in self.rows.items()}


def list_settings(tables: ReportTables, *, without: str | None = None) -> list[Setting]:
    """Returns the settings of a report, in the order of their first points.

    Args:
      tables: of the report.
      without: an axis that is left out of the names, as it is drawn along an axis of a figure.
    """
    index = tables.rows
    keys = [key for key in tables.axes if key != SEED]
    groups: dict[tuple, dict[int, dict[str, Any]]] = {}
    for row in index:
        group = (row.get(VARIANT), *(repr(row[key]) for key in keys))
        groups.setdefault(group, {})[row[SEED]] = row
    named = [key for key in keys if key != without]
    settings = []
    for rows in groups.values():
        first = next(iter(rows.values()))
        own_name = first.get(VARIANT) if without is None else None
        name = own_name or format_values(first, named) or ("" if keys else str(first["label"]))
        family, num_bits = _divide(first, named)
        is_reference = any(row["hash"] == tables.reference for row in rows.values())
        by_seed = dict(sorted(rows.items()))
        settings.append(Setting(name, family, num_bits, by_seed, is_reference))
    return settings


def format_bits(num_bits: int) -> str:
    """Returns a bit width as text.

    >>> format_bits(1), format_bits(8), format_bits(32)
    ('1 bit', '8 bits', 'float32')
    """
    if num_bits == UNQUANTIZED_BITS:
        return "float32"
    return f"{num_bits} bit{'s' * (num_bits > 1)}"


def split_by_measure(tables: ReportTables) -> dict[str, ReportTables]:
    """Returns the points with a quality, apart by the way in which it was measured.

    Qualities of other numbers of images, extractors or data are not comparable.

    Returns:
      Tables by a name such as ``"fcd, 2000 images"``, those with the most points first.
    """
    data = [key for key in tables.axes if key.startswith("data.")]
    groups: dict[tuple, list[int]] = {}
    for number, row in enumerate(tables.rows):
        if row["quality"] is not None and math.isfinite(row["quality"]):
            groups.setdefault(tuple(row[k] for k in (*_MEASURE, *data)), []).append(number)
    parts = {}
    for group, numbers in sorted(groups.items(), key=lambda item: -len(item[1])):
        name, num_samples, extractor, version, *rest = group
        text = f"{name}, {num_samples} images"
        for more in (*rest, extractor, f"version {version}"):
            text = f"{text}, {more}" if text in parts else text
        parts[text] = dataclasses.replace(tables, index=tables.index.take(numbers))
    return parts


def format_values(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Returns the values of some axes in a row of the index, as text."""
    return ", ".join(_format(key, row[key], keys) for key in keys)


def _format(key: str, value: Any, keys: Sequence[str]) -> str:
    """Returns one value of a setting; texts stand for themselves, rows of a file for their hash."""
    digits = shorten_rows(value)
    if isinstance(value, str) and digits == value:
        return value
    name, unit = split_unit(shorten(key, keys))
    text = f"{value:g}" if isinstance(value, float) else str(digits)
    if value is None:
        return f"{name.replace('_', ' ')} {text}"
    if name.startswith(_NUMBER):
        return f"{text} {name.removeprefix(_NUMBER).replace('_', ' ')}"
    return f"{name.replace('_', ' ')} {text} {unit}".rstrip()


def _divide(row: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, int | None]:
    """Returns the family of a setting, and the bits that its method fixes."""
    num_bits, names = None, []
    for key in keys:
        if key == METHOD:
            family, num_bits = _split_method(row[key])
            names.append(family)
        else:
            names.append(_format(key, row[key], keys))
    return ", ".join(names), num_bits


def _split_method(method: str) -> tuple[str, int | None]:
    """Returns a method without its bits, and its bits.

    >>> _split_method("fixed_bits:8"), _split_method("full_precision"), _split_method("on_demand")
    (('fixed bits', 8), ('fixed bits', 32), ('on_demand', None))
    """
    if found := _FIXED.fullmatch(method):
        return f"fixed bits{found[2]}", int(found[1])
    if found := _UNQUANTIZED.fullmatch(method):
        return f"fixed bits{found[1]}", UNQUANTIZED_BITS
    return method, None
