"""Figure of the paired differences of all settings from the reference."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fedjax_diffusion.host.figure_labels import draw_legend
from fedjax_diffusion.host.figure_style import BLACK, shorten_name, to_label, use_percent_scale
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.host.tables import format_span
from fedjax_diffusion.report.figures.marks import MIN_INTERVAL_SEEDS
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import list_settings, split_by_measure
from fedjax_diffusion.report.statistics import (
    ERROR_RATE,
    LESS,
    MORE,
    SHOWN,
    UNDECIDED,
    Difference,
    compare_settings,
)
from fedjax_diffusion.report.tables import ReportTables
from fedjax_diffusion.sweep.pairs import MIN_DECIDING_SEEDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = {"quality": "quality", "total_joules": "energy", "uplink_bytes": "uploads"}
_MAX_ROWS = 32
_GRAY = "0.55"
"""Of a difference that is only shown."""


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
        f"hollow: not decided; gray: fewer than {MIN_DECIDING_SEEDS} pairs, shown only. "
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
    from matplotlib.lines import Line2D

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
        use_percent_scale(axes.xaxis)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(np.arange(len(names)), [to_label(name) for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    reference = next(setting.name for setting in settings if setting.is_reference)
    figure.suptitle(f"differences from {to_label(reference)}", fontsize="medium")
    drawn = {_describe(row.verdict) for rows in found.values() for row in rows}
    handles = [
        Line2D([], [], **_make_dot(verdict), label=_describe(verdict))
        for verdict in (LESS, UNDECIDED, SHOWN)
        if _describe(verdict) in drawn
    ]
    draw_legend(figure, handles)
    return figure


def _draw_difference(axes: "Axes", place: int, row: Difference) -> None:
    """Draws one mean with its interval; that of two seeds would hide everything else."""
    style = _make_dot(row.verdict)
    if row.num_seeds >= MIN_INTERVAL_SEEDS:
        ends = [row.percent.low, row.percent.high]
        axes.plot(ends, [place] * 2, color=style["color"], linewidth=1.2)
    axes.plot(row.percent.mean, place, **style)


def _make_dot(verdict: str) -> dict[str, Any]:
    """Returns the arguments of ``Axes.plot`` for the dot of a verdict."""
    color = _GRAY if verdict == SHOWN else BLACK
    face = color if verdict in (LESS, MORE) else "white"
    look = {"marker": "o", "linestyle": "none", "markersize": 5}
    return {**look, "color": color, "markerfacecolor": face}


def _describe(verdict: str) -> str:
    if verdict == SHOWN:
        return f"shown only: fewer than {MIN_DECIDING_SEEDS} pairs of seeds"
    return verdict if verdict == UNDECIDED else f"decided, p < {ERROR_RATE:g} after Holm"
