"""Marks of a setting: a faint dot per seed, the mean with its interval, and lines."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedjax_diffusion.host.figure_style import FAINT, Look
from fedjax_diffusion.host.tables import format_span
from fedjax_diffusion.report.settings import Setting
from fedjax_diffusion.sweep.pairs import mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_SHOWN = 10
"""Settings in color; others are gray."""
MIN_INTERVAL_SEEDS = 3
"""Seeds from which on an interval is drawn; that of two hides everything."""
_MAX_NAMED = 300
"""Points from which on the dots of a setting are one shape, so that a file stays small."""


def draw_dots(
    axes: "Axes",
    setting: Setting,
    x: Mapping[int, float],
    y: Mapping[int, float],
    look: Look,
    panel: int,
    num_points: int,
) -> None:
    """Draws a faint dot for each seed of a setting.

    Args:
      axes: of the figure.
      setting: whose points they are.
      x: value by seed.
      y: value by seed, of the same seeds.
      look: of the setting.
      panel: number of the axes, which makes the dots' names differ.
      num_points: points of the whole figure; of many the dots have no names.
    """
    style = look.dot | {"markersize": 3.0, "alpha": 0.4, "markeredgewidth": 0}
    if num_points > _MAX_NAMED:
        axes.plot(list(x.values()), [y[seed] for seed in x], **style)
        return
    for seed, value in x.items():
        (dot,) = axes.plot([value], [y[seed]], **style)
        dot.set_gid(f"point-{setting.hashes[seed]}-{panel}")


def draw_mean(
    axes: "Axes", x: Mapping[int, float], y: Mapping[int, float], look: Look
) -> tuple[float, float]:
    """Draws the means of both values, with the 95 % interval of ``y`` from three seeds on.

    The interval ends at zero where all values are above it.

    Args:
      axes: of the figure.
      x: value by seed.
      y: value by seed, of the same seeds.
      look: of the setting.

    Returns:
      Both means.
    """
    values = [y[seed] for seed in x]
    center = float(np.mean(list(x.values()))), float(np.mean(values))
    if len(values) >= MIN_INTERVAL_SEEDS:
        _, low, high = mean_interval(values)
        low = max(low, 0.0) if min(values) > 0 else low
        axes.plot([center[0]] * 2, [low, high], color=look.color, linewidth=1.0)
    axes.plot(*([value] for value in center), **look.dot, markersize=5.5)
    return center


def choose_shown(
    settings: Sequence[Setting], scores: Mapping[str, float], limit: int = MAX_SHOWN
) -> list[Setting]:
    """Returns the settings that are drawn in color: the reference, and those with least scores.

    Args:
      settings: all of them.
      scores: by the names of the settings that can be drawn; smaller is better.
      limit: their largest number.

    Returns:
      The settings in their order.
    """
    known = [setting for setting in settings if setting.name in scores]
    known.sort(key=lambda setting: (not setting.is_reference, scores[setting.name]))
    shown = {setting.name for setting in known[:limit]}
    return [setting for setting in settings if setting.name in shown]


def describe_seeds(settings: Sequence[Setting], column: str) -> str:
    """Returns the number of seeds per setting as text.

    Args:
      settings: at least one with a value in the column.
      column: of the index.
    """
    numbers = [n for setting in settings if (n := len(setting.values(column)))]
    low, high = min(numbers), max(numbers)
    return "1 seed per setting" if high == 1 else f"{format_span(low, high)} seeds per setting"


def describe_others(number: int) -> str:
    """Returns the sentence about settings that are gray; "" if there are none."""
    return f" Gray: {number} other settings." if number else ""


GRAY_LINE = {"color": FAINT, "linewidth": 0.7, "zorder": 1}
"""Arguments of ``Axes.plot`` for a setting without a color of its own."""
