"""Tables of a page, by the kind of its folder."""

from collections.abc import Iterator, Mapping
from typing import Any

from fedjax_diffusion.report.curves import COSTS
from fedjax_diffusion.report.figures.targets import find_targets
from fedjax_diffusion.report.sheet import Sheet, make_sheet
from fedjax_diffusion.report.sources import Source
from fedjax_diffusion.report.standings import tabulate_settings
from fedjax_diffusion.runs import records
from fedjax_diffusion.runs.ledger import THIS_RUN
from fedjax_diffusion.study import Study, to_cells
from fedjax_diffusion.sweep.pairs import Interval

_SHOWN = (
    *("label", "variant", "status", "loss", "mean_bits", "total_joules", "uplink_bytes"),
    *("quality", "saved_joules_percent.reference", "saved_bytes_percent.reference"),
)
"""Columns of points that are shown at first, beside those of the swept settings."""
_SHOWN_OF_METHODS = (
    *("method", "late", "compute_joules_per_round", "transmit_joules_per_round"),
    *("joules_per_round", "mean_bits", "uplink_bytes_per_round", "error_over_budget"),
    *("saved_percent_full_precision", "saved_percent_full_precision_max_frequency"),
)
"""The same of the methods of a study."""


def list_sheets(source: Source) -> list[tuple[str, Sheet]]:
    """Returns title and table of each table that a reader may sort."""
    if source.study is not None:
        return _list_of_study(source.study)
    index = source.tables.rows
    if source.tables.kind == "run":
        numbers = [{"number": key, "value": value} for key, value in index[0].items()]
        known = [row for row in numbers if row["value"] is not None]
        methods = make_sheet("methods", _list_methods(source))
        return [
            ("This run and its baselines", methods),
            ("All numbers", make_sheet("numbers", known)),
        ]
    named = [{"label": row["label"], **row} for row in index]  # the first column stays in sight
    points = make_sheet("points", named, (*_SHOWN, *source.tables.axes))
    settings = make_sheet("settings", tabulate_settings(source.tables))
    variants = make_sheet("variants", _list_variants(source) if source.num_elsewhere else [])
    return [
        ("Variants, with the runs of other folders", variants),
        ("Settings, over their seeds", settings),
        *_list_targets(source),
        ("Points", points),
    ]


def _list_targets(source: Source) -> Iterator[tuple[str, Sheet]]:
    """Yields a table of the resources that each setting needs to reach each target."""
    for number, (target, rows) in enumerate(find_targets(source.tables)):
        cells = [
            {
                "setting": row.setting,
                "seeds that reach it": f"{row.num_reached} of {row.num_seeds}",
                **{name: row.costs.get(cost) for cost, name in COSTS.items()},
            }
            for row in rows
        ]
        name = f"target_{number + 1}" if number else "target"
        yield f"Resources until {target}, mean of the seeds that reach it", make_sheet(name, cells)


def _list_variants(source: Source) -> list[dict[str, Any]]:
    """Returns a row per variant of a comparison over its seeds, the reference first."""
    assert source.comparison is not None
    name = source.comparison.runs[0].distance_name
    return [
        {
            "variant": row.variant,
            "seeds": row.num_seeds,
            "J a run": row.total_joules,
            "uploaded MB a run": row.megabytes,
            name: row.distance.mean,
            "95 % from": row.distance.low,
            "95 % to": row.distance.high,
            "difference from the reference, %": _mean_of(row.difference_percent),
        }
        for row in source.comparison.variants
    ]


def _mean_of(interval: Interval | None) -> float | None:
    return None if interval is None else interval.mean


def _list_methods(source: Source) -> list[dict[str, Any]]:
    """Returns a run's bill and those of its baselines, as far as its rounds go."""
    try:
        lines = records.iterate_metrics(source.workdir)
        methods = records.summarize(lines, 0)["methods"]
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged, or not begun
        return []
    return [_name_units(row) for row in methods]


def _name_units(row: Mapping[str, Any]) -> dict[str, Any]:
    is_own = row["method"] == THIS_RUN
    return {
        "method": row["method"],
        "computing J": row["compute_joules"],
        "transmitting J": row["transmit_joules"],
        "total J": row["total_joules"],
        "uploaded MB": row["uplink_bytes"] / 1e6,
        "late uploads": row["late"],
        "J saved, %": None if is_own else row["saved_joules_percent"],
        "J saved, all on time, %": None if is_own else row["on_time_saved_joules_percent"],
        "upload saved, %": None if is_own else row["saved_bytes_percent"],
    }


def _list_of_study(study: Study) -> list[tuple[str, Sheet]]:
    methods = [row._asdict() for row in study.points[0].rows]
    cells = [cell._asdict() for cell in to_cells(study.points)]
    own = study.summary["method"]
    return [
        (
            "Methods at the config's own deadline, clients at their own distances",
            make_sheet("methods", methods, _SHOWN_OF_METHODS),
        ),
        (
            f"Percent saved by {own} (saved) and by one bit for every client (floor)",
            make_sheet("region", cells),
        ),
    ]
