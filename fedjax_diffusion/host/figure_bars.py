"""Stacked horizontal bars with their sums."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedjax_diffusion.host.figure_style import BLUE, ORANGE
from fedjax_diffusion.host.tables import format_cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer

_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": BLUE},
    {"color": ORANGE, "hatch": "////", "edgecolor": "white"},
)
_ROOM = 1.15
"""Length of the axis over that of the longest bar that is not cut: room for its sum."""


def draw_stack(
    axes: "Axes",
    names: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    largest: float = np.inf,
) -> "list[BarContainer]":
    """Draws a bar per name, its two parts after each other, and writes the sum beside it.

    Args:
      axes: of the figure.
      names: of the bars, from above.
      parts: name and values of both parts, [bars] each, >= 0.
      largest: a longer bar is cut at the end of the axis, which is said beside its sum, unless it
        fits beside the longest of the others.

    Returns:
      The bars of each part, for a legend.
    """
    places = np.arange(len(names))
    total = np.sum(list(parts.values()), axis=0)
    end = float(total[total <= largest].max(initial=0)) or 1.0
    while (longer := float(total[total <= _ROOM * end].max(initial=0))) > end:
        end = longer
    start, bars = np.zeros(len(names)), []
    for look, (label, values) in zip(_LOOKS, parts.items(), strict=True):
        width = np.minimum(start + values, _ROOM * end) - start
        bars.append(axes.barh(places, width, 0.7, start, label=label, **look))
        start = start + width
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    for place, value in zip(places, total, strict=True):
        is_cut = value > end
        axes.annotate(
            f"{format_cell(float(value))} (bar cut)" if is_cut else format_cell(float(value)),
            (end if is_cut else value, place),
            (-6 if is_cut else 3, 0),
            textcoords="offset points",
            ha="right" if is_cut else "left",
            va="center",
            fontsize="small",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1} if is_cut else None,
        )
    axes.set_xlim(0, _ROOM * end)
    return bars
