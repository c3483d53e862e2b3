"""Lines of settings over a cost: the mean of the seeds, and each seed faintly."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fedjax_diffusion.host.figure_labels import Label, label_ends
from fedjax_diffusion.host.figure_style import BLACK, Look, make_looks, to_label
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.report.curves import (
    COSTS,
    Course,
    Curve,
    MeanCurve,
    average,
    list_curves,
)
from fedjax_diffusion.report.figures.marks import GRAY_LINE, choose_shown
from fedjax_diffusion.report.settings import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_MAX_SEEDS = 40
"""Lines of single seeds that are drawn in one axes."""
_MAX_MARKERS = 8
_REFERENCE = Look(BLACK, "", (0, (4, 2.5)))
"""A line below it is seen in its gaps."""
_ROUND_STEPS = (1, 2, 5, 10)
"""Between ticks of an axis of rounds, times a power of ten."""


class Drawn(NamedTuple):
    """A setting that is drawn in a figure of lines.

    Attributes:
      setting: the setting.
      curves: of its seeds that have values, at least one.
      look: of its line; None: gray.
    """

    setting: Setting
    curves: list[Curve]
    look: Look | None


def choose_lines(
    settings: Sequence[Setting], curves: Mapping[str, Curve], column: str, course: Course = "best"
) -> list[Drawn]:
    """Returns the settings with values in a column of the rounds, the best of them in color.

    The reference is black and dashed.

    Args:
      settings: of a report.
      curves: of its points, by hash.
      column: of the table of rounds; those that end with the smallest values are in color.
      course: as of ``Curve.course``.
    """
    own = {s.name: list_curves(s, curves, column) for s in settings}
    scores = {
        name: float(np.mean([curve.course(column, course)[-1] for curve in some]))
        for name, some in own.items()
        if some
    }
    shown = choose_shown(settings, scores)
    colored = [setting.name for setting in shown if not setting.is_reference]
    looks = make_looks(colored) | {s.name: _REFERENCE for s in shown if s.is_reference}
    return [Drawn(s, own[s.name], looks.get(s.name)) for s in settings if s.name in scores]


def draw_lines(
    axes: "Axes", drawn: Sequence[Drawn], cost: str, column: str, course: Course = "best"
) -> list[tuple[Drawn, MeanCurve]]:
    """Draws each setting, the reference above the others, and returns each with its mean course.

    Args:
      axes: of the figure.
      drawn: from ``choose_lines``.
      cost: a key of ``COSTS``.
      column: of the table of rounds.
      course: as of ``Curve.course``.
    """
    from matplotlib.ticker import MaxNLocator

    num_seeds = sum(len(one.curves) for one in drawn if one.look)
    means = []
    for one in sorted(drawn, key=lambda one: one.setting.is_reference):
        mean = average(one.curves, cost, column, course)
        if one.look is None:
            axes.plot(mean.x, mean.y, **GRAY_LINE)
        else:
            if len(one.curves) > 1 and num_seeds <= _MAX_SEEDS:
                for curve in one.curves:
                    seed = average([curve], cost, column, course)
                    axes.plot(seed.x, seed.y, color=one.look.color, linewidth=0.6, alpha=0.35)
            every = max(1, -(-len(mean.x) // _MAX_MARKERS))
            axes.plot(
                mean.x,
                mean.y,
                **one.look.line,
                marker=one.look.marker,
                markersize=4,
                markevery=every,
                zorder=2.5,
            )
        means.append((one, mean))
    if cost == "simulated_seconds":
        axes.xaxis.set_major_locator(MaxNLocator(4))
    elif cost == "round":
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=_ROUND_STEPS, integer=True))
    return means


@default_style()
def draw_over_rounds(
    drawn: Sequence[Drawn],
    column: str,
    course: Course,
    name: str,
    use_scale: "Callable[[Axis], None]",
) -> "Figure":
    """Draws each setting against rounds, with the names of those in color at their ends.

    Args:
      drawn: from ``choose_lines``.
      column: of the table of rounds.
      course: as of ``Curve.course``.
      name: of the vertical axis, with its unit.
      use_scale: gives that axis its scale.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 4.2), layout="constrained")
    axes = figure.subplots()
    labels = [
        Label(mean.x[-1], mean.y[-1], to_label(one.setting.name), one.look.color)
        for one, mean in draw_lines(axes, drawn, "round", column, course)
        if one.look and len(mean.x)
    ]
    axes.set(xlabel=COSTS["round"], ylabel=name)
    use_scale(axes.yaxis)
    label_ends(axes, labels)
    return figure


def make_handles(drawn: Sequence[Drawn]) -> "list[Line2D]":
    """Returns entries of a legend, one for each setting in color, and one for all others."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            **one.look.line,
            marker=one.look.marker,
            markersize=4,
            label=to_label(one.setting.name),
        )
        for one in drawn
        if one.look
    ]
    if others := sum(one.look is None for one in drawn):
        handles.append(Line2D([], [], **GRAY_LINE, label=f"{others} other settings"))
    return handles
