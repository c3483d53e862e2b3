"""Names beside what is drawn, placed so that no two of them overlap."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.container import Container
    from matplotlib.figure import Figure

_GAP = 1.5
"""Least distance between two names at the ends of lines, in heights of their letters."""
_SMALL = 8.0
"""Size of letters, points."""
_LETTER, _SYMBOL = 4.4, 40.0
"""Mean width of a letter of a legend, and width of a symbol with its gaps, points."""
_ROW = 0.17
"""Height of a row of a legend, inches."""
_FAR = 40.0
"""Points from which on a thin line leads from a point to the center of its name."""
_STEP = 2.0
"""Distance of the places along a line, of which a name covers as few as it can, points."""
_BESIDE = 3
"""Places from which on a thin line has left its own point."""
_COVERS = 3.0
"""Cost of a place that covers a line at all, in places covered on lines."""
_AMBIGUOUS = 3.0
"""Cost of a place that is no nearer to its point than to another, in places covered on lines."""
_OFFSETS = np.array(
    [
        (x * distance, y * distance)
        for distance in (1.0, 1.8, 3.0, 4.5, 6.0)
        for x, y in ((1, 0.6), (1, -0.6), (-1, 0.6), (-1, -0.6), (0, 1), (0, -1), (1, 0), (-1, 0))
    ]
)
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


def draw_legend(figure: "Figure", handles: "Sequence[Artist | Container]") -> None:
    """Draws a legend below everything else, in as many columns as fit; the figure grows by it.

    Args:
      figure: with constrained layout.
      handles: artists with labels.
    """
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = 72 * figure.get_figwidth() // (_LETTER * longest + _SYMBOL)
    columns = int(min(max(columns, 1), len(handles)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    figure.set_figheight(figure.get_figheight() + _ROW * -(-len(handles) // columns))


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


def label_points(labels: Mapping["Axes", Sequence[Label]]) -> None:
    """Writes names next to points, none over another name, over a point or outside its axes.

    They cover as little of the axes' lines as they can, and the thin lines that lead to them cross
    few of the names. A thin line leads to a name that is far from its point, or no nearer to it
    than to another one. A name without room is left out.

    Args:
      labels: of each axes; the first have the first choice. The figure's other parts are complete.
    """
    figure = next(iter(labels)).get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout is known from here on
    for axes, own in labels.items():
        if own:
            _label_points(axes, own, figure.dpi / 72)


def _label_points(axes: "Axes", labels: Sequence[Label], dot: float) -> None:
    centers = axes.transData.transform([(label.x, label.y) for label in labels])
    lines = _trace_lines(axes, _STEP * dot)
    taken = [np.array([x - 4 * dot, y - 4 * dot, x + 4 * dot, y + 4 * dot]) for x, y in centers]
    frame = np.array(axes.bbox.extents)
    for number, (label, center) in enumerate(zip(labels, centers, strict=True)):
        others = np.delete(centers, number, axis=0)
        style = {"color": label.color, "fontsize": _SMALL, "ha": "center", "va": "center"}
        text = axes.text(label.x, label.y, label.text, **style)
        box = text.get_window_extent()
        text.remove()
        half = np.array([box.width, box.height]) / 2
        place = _find_place(center, half, dot, frame, np.array(taken), lines, others)
        if place is None:
            continue
        offset = (place - center) / dot
        is_led = np.abs(offset).max() > _FAR or _is_ambiguous(place, half, center, others)
        leader = {"arrowstyle": "-", "color": label.color, "lw": 0.5, "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            label.text,
            (label.x, label.y),
            offset,
            textcoords="offset points",
            arrowprops=leader if is_led else None,
            **style,
        ).set_in_layout(False)
        taken.append(np.concatenate([place - half, place + half]))
        if is_led:
            lines = np.concatenate([lines, _trace(center, place, _STEP * dot)])


def _trace_lines(axes: "Axes", step: float) -> np.ndarray:
    """Returns places along all lines of an axes in pixels, float [n, 2]."""
    places = [np.zeros((0, 2))]
    for line in axes.lines:
        if line.get_linestyle() in ("None", "none"):
            continue
        x, y = (np.asarray(values, float) for values in line.get_data())
        if line.get_drawstyle() == "steps-post":
            x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
        path = line.get_transform().transform(np.stack([x, y], axis=1))
        path = path[np.isfinite(path).all(axis=1)]
        places += [_trace(start, end, step) for start, end in itertools.pairwise(path)]
    return np.concatenate(places)


def _trace(start: np.ndarray, end: np.ndarray, step: float) -> np.ndarray:
    """Returns places along a straight line in pixels, float [n, 2]."""
    shares = np.arange(0, 1, step / max(float(np.hypot(*(end - start))), step))
    return start + shares[:, None] * (end - start)


def _is_ambiguous(
    place: np.ndarray, half: np.ndarray, center: np.ndarray, others: np.ndarray
) -> bool:
    """Returns whether a name at a place is no nearer to its point than to one of the others."""
    points = np.concatenate([center[None], others])
    gaps = np.maximum(np.abs(points - place) - half, 0)
    own, *rest = np.hypot(*gaps.T)
    return bool(rest) and own >= min(rest)


def _find_place(
    center: np.ndarray,
    half: np.ndarray,
    dot: float,
    frame: np.ndarray,
    taken: np.ndarray,
    lines: np.ndarray,
    others: np.ndarray,
) -> np.ndarray | None:
    """Returns the center of the best free place around a point in pixels; None: there is none."""
    places = center + 8 * dot * _OFFSETS + np.sign(_OFFSETS) * half
    lows, highs = places - half, places + half
    is_within = np.all((lows >= frame[:2]) & (highs <= frame[2:]), axis=1)
    is_over = (taken[:, :2] < highs[:, None]) & (taken[:, 2:] > lows[:, None])
    is_free = is_within & ~np.any(np.all(is_over, axis=2), axis=1)
    lines = lines[((lines > lows.min(axis=0)) & (lines < highs.max(axis=0))).all(axis=1)]
    costs = 0.3 * np.hypot(*_OFFSETS.T)
    best, fewest = None, np.inf
    for place, low, high, cost in zip(
        *(a[is_free] for a in (places, lows, highs, costs)), strict=True
    ):
        if cost >= fewest:
            continue  # what it covers only adds to it
        covered = ((lines > low) & (lines < high)).all(axis=1).sum()
        covered = covered + _COVERS * (covered > 0) + cost
        is_ambiguous = _is_ambiguous(place, half, center, others)
        covered += _AMBIGUOUS * is_ambiguous
        if np.abs(place - center).max() > _FAR * dot or is_ambiguous:
            leader = _trace(center, place, _STEP * dot)[_BESIDE:, None]
            covered += ((leader > taken[:, :2]) & (leader < taken[:, 2:])).all(axis=2).sum()
        if covered < fewest:
            best, fewest = place, covered
    return best
