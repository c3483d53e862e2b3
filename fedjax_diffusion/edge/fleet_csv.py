"""Fleets in CSV files: one row per device, or per kind of device with its number."""

from typing import Any

import numpy as np

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.host.csv_table import TableForm, columns_to_csv, parse_table, read_table

FLEET_COLUMNS = (
    "class",
    "count",
    "distance_meters",
    "max_frequency_hz",
    "max_power_watts",
    "effective_capacitance",
    "flops_per_cycle",
    "cycles_per_example",
    "bandwidth_hz",
    "min_bits",
    "max_bits",
)
"""Columns of a fleet's file. ``class`` is a name, ``count`` the number of such devices."""
_CLASS, _COUNT, _NO_CLASS = "class", "count", "device"
_WHOLE = (_COUNT, "min_bits", "max_bits")


def read_fleet(path_or_text: str) -> str:
    """Returns the rows of a fleet's file in one form, so that equal fleets are equal texts.

    Args:
      path_or_text: path of a CSV file with some of ``FLEET_COLUMNS``, or the text of one, which
        has more than one line.

    Returns:
      CSV text: columns in the order of ``FLEET_COLUMNS``, numbers in their shortest form.

    Raises:
      ValueError: as ``host.csv_table.read_table``; or nothing is given.
    """
    if not path_or_text.strip():
        raise ValueError("devices.csv must be the path of a CSV file or None, got ''")
    try:
        read = parse_table if "\n" in path_or_text else read_table
        columns = read(path_or_text, _FORM)
    except ValueError as error:
        raise ValueError(f"devices.csv: {error}") from None
    for name in columns.keys() & {*_WHOLE}:
        columns[name] = [int(value) for value in columns[name]]
    return columns_to_csv({name: columns[name] for name in FLEET_COLUMNS if name in columns})


def parse_fleet(
    path_or_text: str, num_clients: int
) -> tuple[tuple[str, ...], np.ndarray, dict[str, np.ndarray]]:
    """Returns the class and the values of every device, in the order of the rows.

    Args:
      path_or_text: as for ``read_fleet``.
      num_clients: K, which the devices of all rows must add up to.

    Returns:
      Names of the classes in the order in which they appear, ``device`` if the file has no column
      ``class``; the class of each device, int32 [K], an index into them; and the values [K] of
      every other column that the file has.

    Raises:
      ValueError: as ``read_fleet``, or the number of devices is not K.
    """
    columns: dict[str, Any] = parse_table(read_fleet(path_or_text), _FORM)
    num_rows = len(next(iter(columns.values())))
    counts = np.array(columns.pop(_COUNT, [1] * num_rows))
    if (number := int(counts.sum())) != num_clients:
        raise ValueError(
            f"devices.csv: has {number} devices, and partition.num_clients = {num_clients}; set "
            f"partition.num_clients to {number}, or change the rows"
        )
    counts = counts.astype(int)
    names = columns.pop(_CLASS, [_NO_CLASS] * num_rows)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    class_index = np.repeat(np.array([numbers[name] for name in names], np.int32), counts)
    values = {name: np.repeat(values, counts) for name, values in columns.items()}
    return tuple(numbers), class_index, values


def _check(name: str, value: float) -> tuple[bool, str]:
    if name in ("min_bits", "max_bits"):
        return value in BIT_WIDTHS, "1..16 or 32"
    if name == _COUNT:
        return 1 <= value < 2**31 and value == int(value), "a whole number >= 1"
    return 0 < value < np.inf, "> 0 and finite"


_FORM = TableForm("device", FLEET_COLUMNS, _check, texts=(_CLASS,))
