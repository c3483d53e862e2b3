"""Figure of quality against cost: seeds, means, and the front with its uncertainty."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedjax_diffusion.host.figure_labels import Label, draw_legend, label_points
from fedjax_diffusion.host.figure_style import (
    BLACK,
    FAINT,
    Look,
    make_looks,
    to_label,
    use_log_scale,
)
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.report.figures.marks import (
    MAX_SHOWN,
    MIN_INTERVAL_SEEDS,
    describe_seeds,
    draw_dots,
    draw_mean,
)
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.front import attain, find_front, list_paired_seeds
from fedjax_diffusion.report.settings import (
    Setting,
    format_bits,
    list_settings,
    split_by_measure,
)
from fedjax_diffusion.report.tables import ReportTables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

QUALITY = "quality"
PANELS = {
    "total_joules": ("energy of a run, J", 1.0),
    "uplink_bytes": ("uploaded in a run, MB", 1e-6),
}
"""Costs by column of the index: name of the axis, and its unit per unit of the column."""
_MOST_LINEAR = 10
"""Largest ratio of mean qualities on a linear axis."""
_MAX_LABELED = 16
"""Settings from which on only those of a front are named."""
_MAX_LABEL = 24
"""Letters of a name beside a point; the legend has longer ones too."""
_OTHER = Look(FAINT, "o", "-")


def list_frontiers(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields a figure for each way in which quality was measured, that with most points first."""
    for number, (measure, part) in enumerate(split_by_measure(tables).items()):
        settings = _list_drawn(part)
        if len(settings) < 2:
            continue
        seeds = describe_seeds(settings, QUALITY)
        yield NamedFigure(
            f"frontier_{number + 1}" if number else "frontier",
            f"Quality against energy and uploads ({measure})",
            f"Distance of the images ({measure}; smaller is better) against joules and uploaded "
            f"megabytes of a run. Dots: {seeds}; bars: 95 % intervals of Student's t, from three "
            "seeds on. Lines join the bit widths of one family. Staircase: front of the means; "
            "dotted with its band, from three paired seeds on: median, and 10 to 90 %, of their "
            "own fronts; up to the top where some of them do not begin yet.",
            partial(draw_frontier, part),
        )


@default_style()
def draw_frontier(tables: ReportTables) -> "Figure":
    """Draws quality over joules and over megabytes, two panels that share the quality.

    Args:
      tables: of points whose quality was measured in one way, see ``split_by_measure``.
    """
    from matplotlib.figure import Figure

    settings = _list_drawn(tables)
    looks = _make_looks(settings)
    figure = Figure(figsize=(7.4, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    labels: dict[Axes, list[Label]] = {}
    for number, (axes, (column, (name, unit))) in enumerate(
        zip(panels, PANELS.items(), strict=True)
    ):
        means = _draw_settings(axes, settings, looks, column, unit, number)
        front = find_front(*np.transpose(list(means.values())))
        axes.set_xlabel(name)
        use_log_scale(axes.xaxis)
        if _spans_decades(settings):
            use_log_scale(axes.yaxis)
        _draw_fronts(axes, settings, [list(means.values())[i] for i in front], column, unit)
        named = settings if len(settings) <= _MAX_LABELED else [settings[i] for i in front]
        found = [_label(s, means[s.name], settings, looks) for s in named]
        labels[axes] = [label for label in found if len(label.text) <= _MAX_LABEL]
    panels[0].set_ylabel(f"{tables.index[QUALITY + '_name'][0]}, smaller is better")
    _explain(figure, looks, settings, _draw_floor(panels, settings))
    label_points(labels)
    return figure


def _list_drawn(tables: ReportTables) -> list[Setting]:
    """Returns the settings with quality and cost; all values above zero, as the axes need it."""
    return [
        setting
        for setting in list_settings(tables)
        if setting.values(QUALITY) and all(setting.mean(column) > 0 for column in PANELS)
    ]


def _spans_decades(settings: Sequence[Setting]) -> bool:
    """Returns whether the best settings would lie on each other beside the worst."""
    least = min(value for setting in settings for value in setting.values(QUALITY).values())
    means = [setting.mean(QUALITY) for setting in settings]
    return least > 0 and max(means) > _MOST_LINEAR * min(means)


def _make_looks(settings: Sequence[Setting]) -> dict[str, Look]:
    """Returns the look of each family; the worst of many are gray."""
    best: dict[str, float] = {}
    for setting in settings:
        quality = setting.mean(QUALITY)
        best[setting.family] = min(quality, best.get(setting.family, np.inf))
    shown = set(sorted(best, key=lambda family: best[family])[:MAX_SHOWN])
    looks = make_looks(family for family in best if family in shown)
    return {family: looks.get(family, _OTHER) for family in best}


def _draw_settings(
    axes: "Axes",
    settings: Sequence[Setting],
    looks: Mapping[str, Look],
    column: str,
    unit: float,
    panel: int,
) -> dict[str, tuple[float, float]]:
    """Draws seeds, means and families, and returns the means by setting."""
    means = {}
    num_points = len(PANELS) * sum(len(setting.rows) for setting in settings)
    for setting in settings:
        quality, look = setting.values(QUALITY), looks[setting.family]
        cost = {seed: unit * setting.values(column)[seed] for seed in quality}
        draw_dots(axes, setting, cost, quality, look, panel, num_points)
        means[setting.name] = draw_mean(axes, cost, quality, look)
    for family, look in looks.items():
        own = [setting for setting in settings if setting.family == family]
        own.sort(key=lambda s: s.num_bits or s.mean("mean_bits"))
        if len(own) > 1:
            axes.plot(*zip(*(means[s.name] for s in own), strict=True), **look.line, linewidth=0.9)
    return means


def _draw_fronts(
    axes: "Axes",
    settings: Sequence[Setting],
    front: Sequence[tuple[float, float]],
    column: str,
    unit: float,
) -> None:
    """Draws the front of the means to the right edge, and the attainment of the seeds' fronts."""
    right = axes.get_xlim()[1]
    x, y = (list(values) for values in zip(*front, strict=True))
    axes.step([*x, right], [*y, y[-1]], where="post", color=BLACK, linewidth=0.9, zorder=1.5)
    if _has_band(settings) and (attained := attain(settings, column, QUALITY)):
        x = np.append(attained.cost * unit, right)
        low, median, high = (
            np.append(values, values[-1])
            for values in (attained.low, attained.median, attained.high)
        )
        band = {"step": "post", "color": "0.6", "alpha": 0.3, "linewidth": 0, "zorder": 0.5}
        top = axes.get_ylim()[1]  # of the band, too, where some seeds have no front yet
        axes.fill_between(x, low, np.minimum(high, top), np.isfinite(low), **band)
        axes.set_ylim(top=top)
        axes.step(x, np.where(np.isfinite(median), median, np.nan), ":", where="post", color="0.3")
    axes.set_xlim(right=right)


def _has_band(settings: Sequence[Setting]) -> bool:
    """Returns whether enough seeds are paired for the uncertainty of the front."""
    return len(list_paired_seeds(settings, QUALITY, *PANELS)) >= MIN_INTERVAL_SEEDS


def _label(
    setting: Setting,
    mean: tuple[float, float],
    settings: Sequence[Setting],
    looks: Mapping[str, Look],
) -> Label:
    """Returns the label of a setting: its bits if a line joins it to others, else its name."""
    is_joined = sum(other.family == setting.family for other in settings) > 1
    text = to_label(setting.name)
    if is_joined and setting.num_bits is not None:
        text = format_bits(setting.num_bits)
    return Label(*mean, text, looks[setting.family].color)


def _name_family(family: str, settings: Sequence[Setting]) -> str:
    """Returns the name of a family, of its only setting if it has one."""
    names = [setting.name for setting in settings if setting.family == family]
    return names[0] if len(names) == 1 else family


def _draw_floor(panels: Sequence["Axes"], settings: Sequence[Setting]) -> list["Line2D"]:
    """Draws the distance of held-out real images, and returns its line; in words if far below."""
    floors = [v for setting in settings for v in setting.values("quality_floor").values()]
    if not floors:
        return []
    low, high = panels[0].get_ylim()
    floor, is_log = float(np.mean(floors)), panels[0].get_yscale() == "log"
    text = f"held-out real images: {floor:.3g}"
    if floor < (low / 3 if is_log else low - 0.3 * (high - low)):
        panels[0].set_title(text, fontsize="small", color="0.35", loc="left")
        return []
    style = {"color": "0.5", "linestyle": "--", "linewidth": 0.9, "label": text}
    below = floor / 1.2 if is_log else floor - 0.05 * (high - low)
    panels[0].set_ylim(bottom=min(low, below))
    return [axes.axhline(floor, **style) for axes in panels][:1]


def _explain(
    figure: "Figure",
    looks: Mapping[str, Look],
    settings: Sequence[Setting],
    floor: "Sequence[Line2D]",
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Line2D | Patch] = [
        Line2D([], [], **look.dot, label=to_label(_name_family(family, settings)))
        for family, look in looks.items()
        if look != _OTHER
    ]
    if others := sum(looks[setting.family] == _OTHER for setting in settings):
        handles.append(Line2D([], [], **_OTHER.dot, label=f"{others} other settings"))
    handles.append(Line2D([], [], color=BLACK, linewidth=0.9, label="front of the means"))
    if _has_band(settings):
        handles += [
            Line2D([], [], color="0.3", linestyle=":", label="median of the seeds' fronts"),
            Patch(color="0.6", alpha=0.3, linewidth=0, label="10 to 90 % of them"),
        ]
    draw_legend(figure, [*handles, *floor])
