"""Figure of energy against deadline or distance, where a sweep varies it."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedjax_diffusion.host.figure_labels import Label, label_ends
from fedjax_diffusion.host.figure_style import Look, make_looks, to_label, use_log_scale
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.report.figures.marks import (
    GRAY_LINE,
    choose_shown,
    describe_others,
    describe_seeds,
    draw_dots,
    draw_mean,
)
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import Setting, list_settings
from fedjax_diffusion.report.tables import ReportTables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CONDITIONS = {
    "allocator.time_budget_seconds": ("deadline", "deadline of a round, s"),
    "devices.max_distance_meters": ("distance", "largest distance of a client, m"),
    "devices.min_distance_meters": ("least_distance", "least distance of a client, m"),
}
"""Settings that are drawn along an axis: name in the file, and of the axis."""
_MAX_TICKS = 8
"""Values of a condition from which on the axis has round numbers instead."""
_ENERGY = "total_joules"


def list_conditions(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields a figure for each condition that differs between points."""
    for key, (stem, name) in CONDITIONS.items():
        if key not in tables.axes:
            continue
        lines = _list_lines(tables, key)
        settings = [setting for line in lines.values() for setting in line]
        if not settings:
            continue
        gray = len(lines) - len(_choose(lines))
        yield NamedFigure(
            f"energy_{stem}",
            f"Energy against {name.split(',')[0]}",
            f"Joules of a run against the {name}, both axes logarithmic. Dots: "
            f"{describe_seeds(settings, _ENERGY)}; bars: 95 % intervals of Student's t, from three "
            f"seeds on.{describe_others(gray)}",
            partial(draw_conditions, tables, key),
        )


@default_style()
def draw_conditions(tables: ReportTables, key: str) -> "Figure":
    """Draws the joules of a run over a condition, one line for each value of the other settings.

    Args:
      tables: with this axis.
      key: of ``CONDITIONS``.
    """
    from matplotlib.figure import Figure

    lines = _list_lines(tables, key)
    looks = make_looks(_choose(lines))
    figure = Figure(figsize=(7.4, 4.4), layout="constrained")
    axes = figure.subplots()
    labels = []
    for name, settings in lines.items():
        means = _draw_line(axes, settings, key, looks.get(name), tables.index.num_rows)
        look = looks.get(name)
        if look and name:
            labels.append(Label(*means[-1], to_label(name), look.color))
    axes.set(xlabel=CONDITIONS[key][1], ylabel="energy of a run, J")
    use_log_scale(axes.xaxis)
    use_log_scale(axes.yaxis)
    values = sorted({setting.mean(key) for line in lines.values() for setting in line})
    if len(values) <= _MAX_TICKS:
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xticks([], minor=True)
    label_ends(axes, labels)
    return figure


def _list_lines(tables: ReportTables, key: str) -> dict[str, list[Setting]]:
    """Returns the settings of each line by its name, in the order of the condition."""
    lines: dict[str, list[Setting]] = {}
    for setting in list_settings(tables, without=key):
        if setting.values(_ENERGY) and setting.mean(_ENERGY) > 0:
            lines.setdefault(setting.name, []).append(setting)
    return {name: sorted(some, key=lambda s: s.mean(key)) for name, some in lines.items()}


def _choose(lines: dict[str, list[Setting]]) -> list[str]:
    """Returns the names of the lines in color: those with least energy."""
    scores = {n: float(np.mean([s.mean(_ENERGY) for s in some])) for n, some in lines.items()}
    return [setting.name for setting in choose_shown([some[0] for some in lines.values()], scores)]


def _draw_line(
    axes: "Axes", settings: list[Setting], key: str, look: Look | None, num_points: int
) -> list[tuple[float, float]]:
    """Draws one line with its seeds, and returns its means."""
    means = []
    for setting in settings:
        joules = setting.values(_ENERGY)
        x = dict.fromkeys(joules, setting.mean(key))
        if look is None:
            means.append((setting.mean(key), setting.mean(_ENERGY)))
        else:
            draw_dots(axes, setting, x, joules, look, 0, num_points)
            means.append(draw_mean(axes, x, joules, look))
    axes.plot(*zip(*means, strict=True), **(look.line if look else GRAY_LINE))
    return means
