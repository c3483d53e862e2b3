"""Figure of the resources that reach a target: rounds, uploads, energy and simulated time."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from fedjax_diffusion.host.figure_style import BLUE, to_label
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.host.tables import format_cell
from fedjax_diffusion.report.curves import COSTS, read_curves
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.figures.progress import LOSS, QUALITY, split_by_quality
from fedjax_diffusion.report.settings import list_settings
from fedjax_diffusion.report.tables import ReportTables
from fedjax_diffusion.report.target import (
    TOLERANCE_PERCENT,
    TargetRow,
    choose_target,
    measure_target,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_ROWS = 24
_SHORT = {"round": "rounds", "simulated_seconds": "time, s", "uplink_bytes": "uploaded, MB"}
_MAX_NAME = 34


def find_targets(tables: ReportTables) -> Iterator[tuple[str, list[TargetRow]]]:
    """Yields each target and its rows: of quality measured along the runs, else of the loss."""
    measured = [(QUALITY, name, part) for name, part in split_by_quality(tables).items()]
    for column, name, part in measured or [(LOSS, "training loss", tables)]:
        settings, curves = list_settings(part), read_curves(part)
        target = choose_target(settings, curves, column)
        if len(settings) < 2 or target is None:
            continue
        rows = measure_target(settings, curves, column, target)
        if len(rows) > 1:
            yield f"{name} is at most {target:.4g}", rows


def list_targets(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the figure of each target."""
    held = "the reference" if tables.reference is not None else "the setting in the middle"
    for number, (target, rows) in enumerate(find_targets(tables)):
        more = f" The {_MAX_ROWS} with the most of them." if len(rows) > _MAX_ROWS else ""
        yield NamedFigure(
            f"target_{number + 1}" if number else "target",
            f"Resources until {target}",
            f"Rounds, uploads, joules and simulated seconds until {target} for the first time "
            f"({TOLERANCE_PERCENT:g} % above the best of {held}); mean over the seeds "
            f"that reach it. In brackets: seeds that reach it, of all.{more}",
            partial(draw_target, rows, f"until {target}"),
        )


@default_style()
def draw_target(rows: Sequence[TargetRow], title: str) -> "Figure":
    """Draws the resources of each setting as bars with their values, one panel per resource.

    Args:
      rows: from ``measure_target``.
      title: of the figure: the target.
    """
    from matplotlib.figure import Figure

    cheapest = sorted(rows, key=_rank)[:_MAX_ROWS]
    kept = [row for row in rows if row in cheapest]
    figure = Figure(figsize=(7.4, 1.2 + 0.27 * len(kept)), layout="constrained")
    panels = figure.subplots(1, len(COSTS), sharey=True)
    for axes, (cost, name) in zip(panels, COSTS.items(), strict=True):
        _draw_bars(axes, [row.costs.get(cost) for row in kept])
        axes.set_xlabel(_SHORT.get(cost, name))
    panels[0].set_yticks(range(len(kept)), [_name(row) for row in kept])
    panels[0].invert_yaxis()
    figure.suptitle(title, fontsize="medium")
    return figure


def _rank(row: TargetRow) -> tuple[float, float]:
    """Returns the place of a setting: those first of which more seeds reach the target."""
    return -row.num_reached / row.num_seeds, row.costs.get("total_joules", float("inf"))


def _name(row: TargetRow) -> str:
    name = to_label(row.setting, _MAX_NAME)
    is_full = row.num_reached == row.num_seeds
    return name if is_full else f"{name} ({row.num_reached} of {row.num_seeds})"


def _draw_bars(axes: "Axes", values: Sequence[float | None]) -> None:
    """Draws one bar per value with its number; a missing one is named as such."""
    known = [value or 0.0 for value in values]
    axes.barh(range(len(values)), known, 0.7, color=BLUE)
    axes.grid(visible=False)
    axes.set_xlim(0, 1.6 * max(known) or 1.0)
    axes.xaxis.set_major_locator(_few_ticks())
    for place, value in enumerate(values):
        axes.annotate(
            "not reached" if value is None else format_cell(float(value)),
            (value or 0.0, place),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize="x-small",
            color="0.5" if value is None else "black",
        )


def _few_ticks():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(2)
