"""Certificates of a report: the largest gap of its allocations."""

from fedjax_diffusion.host.tables import format_cell
from fedjax_diffusion.report.tables import ReportTables

_MEANING = (
    "The gap is the share of the energy that a better allocation could save at most; for a method "
    "that fixes the bits, one with the same bits."
)


def describe_gaps(tables: ReportTables) -> list[str]:
    """Returns sentences on the largest relative gap, and on the round or setting that has it."""
    if tables.kind == "study":
        rows = [(row["relative_gap_max"], _place(row)) for row in tables.rows]
        what = "settings and methods"
    else:
        columns = (tables.rounds[name].to_pylist() for name in ("relative_gap", "label", "round"))
        rows = [
            (gap, f"round {round + 1} of {label}")
            for gap, label, round in zip(*columns, strict=True)
            if gap is not None
        ]
        what = "rounds"
    if not rows:
        return ["No allocation has a certificate yet."]
    largest, place = max(rows)
    return [
        f"The largest relative gap among {len(rows):,} {what} is {format_cell(100 * largest)} %: "
        f"{place}.",
        _MEANING,
    ]


def _place(row: dict) -> str:
    meters = row["distance_meters"]
    where = "" if meters is None else f", {meters:g} m"
    return f"{row['method']} at {row['time_budget_seconds']:g} s{where}"
