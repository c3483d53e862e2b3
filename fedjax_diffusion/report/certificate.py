"""Certificates of a report: the largest gap of its allocations."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedjax_diffusion.host.tables import format_cell
from fedjax_diffusion.report.tables import ReportTables

_MEANING = (
    "The gap is the share of the energy that a better allocation could save at most; for a method "
    "that fixes the bits, one with the same bits. At full frequency it is large by choice."
)


def describe_gaps(tables: ReportTables) -> list[str]:
    """Returns sentences on the largest relative gap, and on the round or setting that has it."""
    if tables.kind == "study":
        return _describe_study(tables.rows)
    columns = (tables.rounds[name].to_pylist() for name in ("relative_gap", "label", "round"))
    rows = [
        (gap, f"round {round + 1} of {label}")
        for gap, label, round in zip(*columns, strict=True)
        if gap is not None
    ]
    if not rows:
        return ["No allocation has a certificate yet."]
    largest, place = max(rows)
    return [
        f"The largest relative gap among {len(rows):,} rounds is {format_cell(100 * largest)} %: "
        f"{place}.",
        _MEANING,
    ]


def _describe_study(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a sentence on the study's own method, its first, and one on the others."""
    own = rows[0]["method"]
    texts = []
    for is_own in (True, False):
        some = [row for row in rows if (row["method"] == own) == is_own]
        if some:
            row = max(some, key=lambda row: row["relative_gap_max"])
            gap = format_cell(100 * row["relative_gap_max"])
            whose = f"{own} among {len(some):,} settings" if is_own else "the other methods"
            place = _place(row) if is_own else f"{row['method']} {_place(row)}"
            texts.append(f"The largest relative gap of {whose} is {gap} %: {place}.")
    return [*texts, _MEANING]


def _place(row: Mapping[str, Any]) -> str:
    meters = row["distance_meters"]
    where = "" if meters is None else f", {meters:g} m"
    return f"at {row['time_budget_seconds']:g} s{where}"
