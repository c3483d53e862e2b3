"""The file metrics.csv: the lines of metrics.jsonl as a flat table, for spreadsheets and pandas."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.csv_table import columns_to_csv
from fedjax_diffusion.runs.records import METRICS_CSV, iterate_metrics


def write_metrics_csv(workdir: Path) -> None:
    """Writes the table of a run folder, one row per round."""
    write_text(workdir / METRICS_CSV, columns_to_csv(to_columns(iterate_metrics(workdir))))


def to_columns(records: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Returns the fields of records as columns of equal length.

    A field with a value per baseline becomes a column for each, ``field.baseline``. A list becomes
    one text with spaces, and a missing value an empty cell.

    >>> to_columns([{"round": 0, "num_bits": [2, 8], "joules": {"demand": 1.5}, "loss": None}])
    {'round': [0], 'num_bits': ['2 8'], 'joules.demand': [1.5], 'loss': [None]}
    """
    rows = [_flatten(record) for record in records]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _flatten(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the cells of one record by column."""
    row: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            row |= {f"{name}.{key}": below for key, below in value.items()}
        else:
            row[name] = " ".join(map(str, value)) if isinstance(value, list) else value
    return row
