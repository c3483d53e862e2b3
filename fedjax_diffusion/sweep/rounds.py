"""Rounds of many runs: one row per point and round, read from their folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedjax_diffusion.runs import records
from fedjax_diffusion.runs.quality_log import name_distance, read_quality
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.typed_table import to_table

if TYPE_CHECKING:
    import pyarrow

_NUMBERS = (
    "loss",
    "compute_joules",
    "transmit_joules",
    "total_joules",
    "uplink_bytes",
    "downlink_bytes",
    "full_precision_bytes",
    "quantization_error",
    "quantization_error_bound",
    "relative_gap",
    "wall_seconds",
)
"""Of a line of metrics.jsonl."""
_ALONG = ("quality_name", "quality", "precision", "recall")
_NAMES = ("hash", "label", "round", "simulated_seconds", "mean_bits", *_NUMBERS, *_ALONG)
_KINDS = {
    **dict.fromkeys(_NAMES, "float64"),
    **dict.fromkeys(("round", "uplink_bytes", "downlink_bytes", "full_precision_bytes"), "int64"),
    **dict.fromkeys(("hash", "label", "quality_name"), "string"),
}


def tabulate_rounds(points: Sequence[Point], folders: Sequence[Path]) -> "pyarrow.Table":
    """Returns the table of rounds.parquet: one row per point and round.

    Args:
      points: of a sweep.
      folders: run folder of each point; one that is missing or damaged has no rows.
    """

    def list_rows() -> Iterator[dict[str, Any]]:
        for point, folder in zip(points, folders, strict=True):
            seconds = float(point.config.allocator.time_budget_seconds)
            along = _read_along(folder)
            for record in _read_lines(folder):
                yield {
                    "hash": point.hash[:HASH_DIGITS],
                    "label": point.label,
                    "round": record["round"],
                    "simulated_seconds": seconds * (record["round"] + 1),
                    "mean_bits": records.find_mean_bits(record),
                    **{name: record.get(name) for name in _NUMBERS},
                    **along.get(record["round"] + 1, {}),
                }

    return to_table(list(list_rows()), _KINDS, _NAMES)


def _read_lines(folder: Path) -> list[dict]:
    """Returns the rounds of a point; none if it has not begun, or if its file is damaged."""
    try:
        return records.read_metrics(folder)
    except ValueError:
        return []


def _read_along(folder: Path) -> dict[int, dict[str, Any]]:
    """Returns the quality measured along a point's run, by the number of completed rounds."""
    try:
        return {line["round"]: _to_along(line) for line in read_quality(folder)}
    except (ValueError, KeyError):  # damaged
        return {}


def _to_along(line: dict[str, Any]) -> dict[str, Any]:
    name, number = name_distance(line), line["num_samples"]
    values = (name, line[name], line[f"precision_{number}"], line[f"recall_{number}"])
    return dict(zip(_ALONG, values, strict=True))
