"""Figures of a study: energy over deadline and distance, and the region of the savings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedjax_diffusion.allocation import parse_method
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.study.points import FLOOR, Point
from fedjax_diffusion.study.region import Cell, format_deadline, format_saving

_COLORS = {
    "on_demand": "black",
    "full_precision": "tab:red",
    "fixed_bits:8": "tab:orange",
    "fixed_bits:4": "goldenrod",
    "fixed_bits:1": "gray",
    "demand": "tab:green",
}
_OTHER_COLORS = ("tab:blue", "tab:purple", "tab:brown", "tab:pink", "tab:cyan", "tab:olive")
_DASHES = {"": "-", "max_frequency": (0, (4, 2)), "joint_bandwidth": (0, (1, 1))}
_LABEL_GAP = 0.036
"""Least distance between two labels, as a share of the height of the axes."""
_NOTE = (
    "shaded: 10th to 90th percentile of the rounds; hollow: some upload is late and charged at "
    "full frequency and full power"
)
_FRAMES = (1.2, 2.6, 4.0, 5.4)
"""Widths of the frames around the first goals."""


@default_style()
def draw_sweep(points: Sequence[Point], sweep: str, title: str) -> Figure:
    """Draws joules per client of every method over the deadline or the distance.

    One line per method: its colour is the choice of bits, its dashes the division of time and band.
    Below: the share of late uploads, and of clients left out.

    Args:
      points: of a study.
      sweep: ``"time_budget"`` or ``"distance"``.
      title: of the figure.
    """
    points = [point for point in points if point.sweep == sweep]
    methods = [row.method for row in points[0].rows]
    name = "time_budget_seconds" if sweep == "time_budget" else "distance_meters"
    x = np.array([getattr(point, name) for point in points], float)
    uploads, left_out = (_column(points, methods[0], n) for n in ("client_rounds", "infeasible"))
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    energy, late = figure.subplots(2, 1, sharex=True, height_ratios=(6, 1))
    for method in methods:
        style = _style(method, methods)
        _draw_energy(energy, x, points, method, style)
        share = 100 * _column(points, method, "late") / np.maximum(uploads, 1)
        if share.any():
            late.plot(x, share, **style | {"linewidth": 1.2})
    if left_out.any():
        share = 100 * left_out / (left_out + uploads)
        late.fill_between(x, share, color="silver", label=f"left out by {methods[0]}")
        late.legend(fontsize="small", frameon=False)
    energy.set_title(_NOTE, fontsize="small", color="dimgray")
    energy.set(xscale="log", ylabel="energy per client and round, J")
    if uploads.any():  # zero has no logarithm
        energy.set_yscale("log")
    energy.grid(alpha=0.3)
    energy.grid(which="minor", axis="y", alpha=0.12)
    late.set(ylabel="late, %", ylim=(0, max(5.0, late.get_ylim()[1])))
    late.grid(alpha=0.3)
    if sweep == "time_budget":
        late.set_xticks(x, [format_deadline(value) for value in x])
        late.set_xlabel("deadline T")
    else:
        late.set_xticks(x, [f"{value:g}" for value in x])
        late.set_xlabel("distance of every client, m")
    late.set_xticks([], minor=True)
    _label_ends(energy, points, methods)
    return figure


@default_style()
def draw_region(
    cells: Sequence[Cell], method: str, goals_percent: Sequence[float], title: str
) -> Figure:
    """Draws the saving against full precision, optimal split, for each deadline and distance.

    Two maps: the study's own method, and one bit for every client. A frame marks the cells that
    reach a goal; brackets mark those in which full precision is late for some client. Percents are
    rounded down.

    Args:
      cells: of a study.
      method: the study's own method.
      goals_percent: savings to frame.
      title: of the figure.
    """
    seconds = sorted({cell.time_budget_seconds for cell in cells})
    meters = sorted({cell.distance_meters for cell in cells})
    size = (5 + 1.05 * len(seconds), 2.5 + 0.4 * len(meters))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize="medium")
    headings = {
        "saved_percent": (
            f"energy saved by {method} against {REFERENCE_BASELINES[0]}, optimal split, %"
        ),
        "floor_percent": f"energy saved by one bit for every client ({FLOOR}), %",
    }
    maps = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (name, heading) in zip(maps, headings.items(), strict=True):
        saved = np.full((len(meters), len(seconds)), np.nan)
        for cell in cells:
            place = meters.index(cell.distance_meters), seconds.index(cell.time_budget_seconds)
            percent = getattr(cell, name)
            saved[place] = np.nan if percent is None else percent
            text = format_saving(percent, cell.is_late)
            axes.text(place[1], place[0], text, ha="center", va="center", fontsize="small")
        axes.imshow(saved, origin="lower", aspect="auto", cmap="YlGn", vmin=0, vmax=160)
        _frame_goals(axes, saved, goals_percent)
        axes.set_title(heading, fontsize="medium")
        axes.set_xticks(range(len(seconds)), [format_deadline(value) for value in seconds])
        axes.set_yticks(range(len(meters)), [f"{value:g}" for value in meters])
        axes.set_xlabel("deadline T")
    maps[0].set_ylabel("distance of every client, m")
    frames = [
        Line2D([], [], color="black", linewidth=width, label=f"at least {percent:g} %")
        for percent, width in zip(goals_percent, _FRAMES, strict=False)
    ]
    late = Line2D(
        [], [], linestyle="none", label=f"( ) {REFERENCE_BASELINES[0]} is late for some client"
    )
    figure.legend(handles=[*frames, late], loc="outside lower center", ncols=5, frameon=False)
    return figure


def _draw_energy(
    axes: Axes, x: np.ndarray, points: Sequence[Point], method: str, style: Mapping[str, Any]
) -> None:
    low, mean, high = (
        _column(points, method, f"joules_per_client{suffix}") for suffix in ("_p10", "", "_p90")
    )
    color = style["color"]
    axes.plot(x, mean, **style)
    axes.fill_between(x, low, high, color=color, alpha=0.08, linewidth=0)
    is_late = _column(points, method, "late") > 0
    axes.plot(x[~is_late], mean[~is_late], "o", color=color, markersize=5)
    axes.plot(x[is_late], mean[is_late], "o", color=color, markersize=5, markerfacecolor="white")


def _style(method: str, methods: Sequence[str]) -> dict[str, Any]:
    """Returns the line style of a method; the first of the methods is thick."""
    base, dashes = _divide(method)
    others = [b for b in dict.fromkeys(_divide(s)[0] for s in methods) if b not in _COLORS]
    color = _COLORS.get(base) or _OTHER_COLORS[others.index(base) % len(_OTHER_COLORS)]
    return {
        "color": color,
        "linestyle": _DASHES[dashes],
        "linewidth": 2.6 if method == methods[0] else 1.5,
    }


def _divide(method: str) -> tuple[str, str]:
    """Returns a method's choice of bits and its division of time and band."""
    spec = parse_method(method)
    return str(spec.undivided), spec.division


def _column(points: Sequence[Point], method: str, name: str) -> np.ndarray:
    return np.array([getattr(point.row(method), name) for point in points], float)


def _label_ends(axes: Axes, points: Sequence[Point], methods: Sequence[str]) -> None:
    """Labels every line at its end; labels that would overlap are moved apart."""
    rows = [row for point in points for row in point.rows if row.joules_per_client]
    ends = {row.method: np.log(row.joules_per_client or 1.0) for row in rows}
    low, high = np.log(axes.get_ylim()) if rows else (0.0, 1.0)
    heights = {name: float((end - low) / (high - low)) for name, end in ends.items()}
    names = sorted(heights, key=lambda name: heights[name])
    for name, place in zip(names, _spread([heights[n] for n in names]), strict=True):
        color = _style(name, methods)["color"]
        anchored = {"transform": axes.transAxes, "clip_on": False}
        leader = Line2D([1.002, 1.03], [heights[name], place], color=color, lw=0.7, **anchored)
        axes.add_line(leader)
        axes.text(1.035, place, name, color=color, fontsize="small", va="center", **anchored)


def _spread(heights: Sequence[float]) -> list[float]:
    """Returns ascending heights moved apart to at least ``_LABEL_GAP``, at most 1."""
    groups: list[tuple[float, int]] = []
    for height in heights:
        groups.append((height, 1))
        while len(groups) > 1:
            (a, m), (b, n) = groups[-2:]
            if b - a >= _LABEL_GAP * (m + n) / 2:
                break
            groups[-2:] = [((a * m + b * n) / (m + n), m + n)]
    places = [
        center + _LABEL_GAP * (i - (count - 1) / 2)
        for center, count in groups
        for i in range(count)
    ]
    top = [1.0 - _LABEL_GAP * i for i in reversed(range(len(places)))]
    return [min(place, highest) for place, highest in zip(places, top, strict=True)]


def _frame_goals(axes: Axes, saved: np.ndarray, goals_percent: Sequence[float]) -> None:
    """Draws a line around the cells that reach a goal."""
    fine = 16
    rows, columns = saved.shape
    x = np.linspace(-0.5, columns - 0.5, fine * columns)
    y = np.linspace(-0.5, rows - 0.5, fine * rows)
    for percent, width in zip(goals_percent, _FRAMES, strict=False):
        is_reached = np.kron(np.nan_to_num(saved) >= percent, np.ones((fine, fine)))
        if 0 < is_reached.sum() < is_reached.size:
            axes.contour(x, y, is_reached, levels=[0.5], colors="black", linewidths=width)
