"""Figure of the paired differences of all settings from the reference."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedjax_diffusion.host.figure_style import BLACK, FAINT, shorten_name
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.host.tables import format_span
from fedjax_diffusion.report.figures.marks import MIN_INTERVAL_SEEDS
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import list_settings, split_by_measure
from fedjax_diffusion.report.statistics import (
    ERROR_RATE,
    MIN_SEEDS,
    SHOWN,
    UNDECIDED,
    Difference,
    compare_settings,
)
from fedjax_diffusion.report.tables import ReportTables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = {"quality": "quality", "total_joules": "energy", "uplink_bytes": "uploads"}
_MAX_ROWS = 32


def list_differences(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the figure if there is a reference, and quality paired with its seeds."""
    part = next(iter(split_by_measure(tables).values()), None)
    rows = compare_settings(list_settings(part), "quality") if part else []
    if part is None or not rows:
        return
    numbers = [row.num_seeds for row in rows]
    reference = next(s.name for s in list_settings(part) if s.is_reference)
    more = f" The {_MAX_ROWS} with the best quality." if len(rows) > _MAX_ROWS else ""
    yield NamedFigure(
        "differences",
        f"Differences from {shorten_name(reference)}",
        f"Mean differences in percent from {reference} with the same seeds "
        f"({format_span(min(numbers), max(numbers))} pairs), with 95 % intervals of Student's t. "
        f"Filled: decided, p below {ERROR_RATE:g} after Holm's adjustment over all settings; "
        f"hollow: not decided; gray: fewer than {MIN_SEEDS} pairs, shown and never decided. "
        f"Negative is less: better images, fewer joules, fewer bytes.{more}",
        partial(draw_differences, part),
    )


@default_style()
def draw_differences(tables: ReportTables) -> "Figure":
    """Draws the differences of quality, energy and uploads from the reference, in percent.

    Args:
      tables: with a reference, and points whose quality was measured in one way.
    """
    from matplotlib.figure import Figure

    settings = list_settings(tables)
    found = {column: compare_settings(settings, column) for column in _COLUMNS}
    ranked = sorted(found["quality"], key=lambda row: row.percent.mean)[:_MAX_ROWS]
    names = [row.setting for row in found["quality"] if row in ranked]
    figure = Figure(figsize=(7.4, 1.2 + 0.25 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(_COLUMNS), sharey=True)
    for axes, (column, title) in zip(panels, _COLUMNS.items(), strict=True):
        for row in found[column]:
            if row.setting in names:
                _draw_difference(axes, names.index(row.setting), row)
        axes.axvline(0, color=BLACK, linewidth=0.8)
        axes.set(title=title, xlabel="difference, %")
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(np.arange(len(names)), [shorten_name(name) for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    return figure


def _draw_difference(axes: "Axes", place: int, row: Difference) -> None:
    """Draws one mean with its interval; that of two seeds would hide everything else."""
    color = FAINT if row.verdict == SHOWN else BLACK
    if row.num_seeds >= MIN_INTERVAL_SEEDS:
        axes.plot([row.percent.low, row.percent.high], [place] * 2, color=color, linewidth=1.2)
    is_hollow = row.verdict in (SHOWN, UNDECIDED)
    face = "white" if is_hollow else color
    axes.plot(row.percent.mean, place, "o", color=color, markerfacecolor=face, markersize=5)
