"""Names beside what is drawn, placed so that no two of them overlap."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP = 1.25
"""Least distance between two names at the ends of lines, in heights of their letters."""
_SMALL = 8.0
"""Size of letters, points."""
_OFFSETS = [
    (x * distance, y * distance)
    for distance in (1.0, 1.8, 3.0, 4.5)
    for x, y in ((1, 0.6), (1, -0.6), (-1, 0.6), (-1, -0.6), (0, 1), (0, -1), (1, 0), (-1, 0))
]
"""Tried places of a name around its point, nearest first; one is 8 points."""


class Label(NamedTuple):
    """A name to be placed at a point.

    Attributes:
      x: of the point, in the axes' units.
      y: of the point.
      text: of the name.
      color: of Matplotlib.
    """

    x: float
    y: float
    text: str
    color: Any


def label_ends(axes: "Axes", labels: Sequence[Label]) -> None:
    """Writes names to the right of the axes, at the heights of their lines' ends.

    Names that would overlap are moved apart; a thin line leads to each.

    Args:
      axes: with all its lines and its final limits and scale.
      labels: one per line, at its last point; ``x`` is not used.
    """
    from matplotlib.lines import Line2D

    if not labels:
        return
    to_share = (axes.transData + axes.transAxes.inverted()).transform
    heights = np.clip([to_share((axes.get_xlim()[1], label.y))[1] for label in labels], 0, 1)
    figure = axes.get_figure(root=True)
    assert figure is not None
    height_points = 72 * axes.get_position().height * figure.get_figheight()
    gap = _GAP * _SMALL / height_points
    order = np.argsort(heights, kind="stable")
    beside = {"transform": axes.transAxes, "clip_on": False}
    for index, place in zip(order, spread([float(heights[i]) for i in order], gap), strict=True):
        label, start = labels[index], float(heights[index])
        axes.add_line(Line2D([1.003, 1.03], [start, place], color=label.color, lw=0.7, **beside))
        axes.text(
            1.035,
            place,
            label.text,
            color=label.color,
            fontsize=_SMALL,
            va="center_baseline",
            **beside,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Returns ascending heights moved apart to at least ``gap``, at most 1.

    >>> [round(height, 6) for height in spread([0.5, 0.5, 0.9], 0.1)]
    [0.45, 0.55, 0.9]
    """
    groups: list[tuple[float, int]] = []
    for height in heights:
        groups.append((height, 1))
        while len(groups) > 1:
            (a, m), (b, n) = groups[-2:]
            if b - a >= gap * (m + n) / 2:
                break
            groups[-2:] = [((a * m + b * n) / (m + n), m + n)]
    places = [
        center + gap * (i - (count - 1) / 2) for center, count in groups for i in range(count)
    ]
    top = [1.0 - gap * i for i in reversed(range(len(places)))]
    return [min(place, highest) for place, highest in zip(places, top, strict=True)]


def label_points(
    labels: Mapping["Axes", Sequence[Label]], avoided: Mapping["Axes", np.ndarray]
) -> None:
    """Writes names next to points, none over another name, over a point or outside its axes.

    A name without room is left out.

    Args:
      labels: of each axes; the first have the first choice. The figure's other parts are complete.
      avoided: float [n, 2] for each axes, places that a name should rather not cover.
    """
    figure = next(iter(labels)).get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout is known from here on
    for axes, own in labels.items():
        _label_points(axes, own, avoided[axes])


def _label_points(axes: "Axes", labels: Sequence[Label], avoided: np.ndarray) -> None:
    to_pixels, dot = axes.transData.transform, axes.get_figure(root=True).dpi / 72
    if not labels:
        return
    centers = to_pixels([(label.x, label.y) for label in labels])
    soft = to_pixels(avoided) if len(avoided) else np.zeros((0, 2))
    taken = [np.array([x - 4 * dot, y - 4 * dot, x + 4 * dot, y + 4 * dot]) for x, y in centers]
    frame = np.array(axes.bbox.extents)
    for label, center in zip(labels, centers, strict=True):
        text = axes.annotate(
            label.text,
            (label.x, label.y),
            (0, 0),
            textcoords="offset points",
            color=label.color,
            fontsize=_SMALL,
            ha="center",
            va="center",
        )
        text.set_in_layout(False)
        box = text.get_window_extent()
        half = np.array([box.width, box.height]) / 2
        found = _find_place(center, half, dot, frame, np.array(taken), soft)
        if found is None:
            text.remove()
            continue
        text.set_position(tuple((found - center) / dot))
        taken.append(np.concatenate([found - half, found + half]))


def _find_place(
    center: np.ndarray,
    half: np.ndarray,
    dot: float,
    frame: np.ndarray,
    taken: np.ndarray,
    soft: np.ndarray,
) -> np.ndarray | None:
    """Returns the center of the best free place around a point in pixels; None: there is none."""
    best, fewest = None, np.inf
    for x, y in _OFFSETS:
        place = center + 8 * dot * np.array([x, y]) + np.sign([x, y]) * half
        low, high = place - half, place + half
        if (low < frame[:2]).any() or (high > frame[2:]).any():
            continue
        if ((taken[:, :2] < high) & (taken[:, 2:] > low)).all(axis=1).any():
            continue
        covered = ((soft > low) & (soft < high)).all(axis=1).sum() + 0.3 * np.hypot(x, y)
        if covered < fewest:
            best, fewest = place, covered
    return best
