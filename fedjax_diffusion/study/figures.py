"""Figures of a study: energy over deadline and distance, and the region of the savings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedjax_diffusion.allocation.method_spec import JOINT_BANDWIDTH, MAX_FREQUENCY
from fedjax_diffusion.host.figure_labels import Label, draw_legend, label_ends
from fedjax_diffusion.host.figure_style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    to_label,
    use_log_scale,
)
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.study.points import FLOOR, Point
from fedjax_diffusion.study.region import Cell, format_deadline, format_saving

_COLORS = {
    "on_demand": BLACK,
    "full_precision": VERMILION,
    "fixed_bits:8": ORANGE,
    "fixed_bits:4": SKY,
    "fixed_bits:1": "gray",
    "demand": GREEN,
}
_OTHER_COLORS = (BLUE, PURPLE, "saddlebrown", "olive")
_DASHES = {"": "-", "max_frequency": (0, (4, 2)), "joint_bandwidth": (0, (1, 1))}
_SAME = 0.005
"""Relative difference below which two lines look like one."""
_LEFT_OUT = "left out"
_NOTE = (
    "shaded: 10th to 90th percentile of the rounds of {}; hollow: some upload is late and charged "
    "at full frequency and full power"
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
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    shares = _list_shares(points, methods)
    rows = (6, 1) if shares else (1,)
    panels = figure.subplots(len(rows), 1, sharex=True, height_ratios=rows, squeeze=False)[:, 0]
    energy, bottom = panels[0], panels[-1]
    for method in methods:
        _draw_energy(energy, x, points, method, methods)
    energy.set_title(
        _NOTE.format(" and ".join(map(to_label, _list_shaded(methods)))), fontsize="small"
    )
    energy.set(xscale="log", ylabel="energy per client and round, J")
    use_log_scale(energy.yaxis)
    if shares:
        _draw_late(bottom, x, shares, methods)
    deadlines = sweep == "time_budget"
    bottom.set_xticks(x, [format_deadline(value) if deadlines else f"{value:g}" for value in x])
    bottom.set_xlabel("deadline T" if deadlines else "distance of every client, m")
    bottom.set_xticks([], minor=True)
    _label_lines(energy, points, methods)
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
    size = (2.0 + 0.6 * len(seconds), 2.5 + 0.7 * len(meters))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize="medium")
    headings = {
        "saved_percent": (
            f"energy saved by {to_label(method)} against {REFERENCE_BASELINES[0]}, optimal split, %"
        ),
        "floor_percent": f"the same by one bit for every client ({FLOOR}), %",
    }
    maps = figure.subplots(2, 1, sharex=True, sharey=True)
    for axes, (name, heading) in zip(maps, headings.items(), strict=True):
        saved = np.full((len(meters), len(seconds)), np.nan)
        for cell in cells:
            place = meters.index(cell.distance_meters), seconds.index(cell.time_budget_seconds)
            percent = getattr(cell, name)
            saved[place] = np.nan if percent is None else percent
            text = format_saving(percent, cell.is_late)
            axes.text(place[1], place[0], text, ha="center", va="center", fontsize="small")
        axes.imshow(saved, origin="lower", aspect="auto", cmap="YlGn", vmin=0, vmax=160)
        axes.grid(visible=False)
        _frame_goals(axes, saved, goals_percent)
        axes.set_title(heading, fontsize="medium")
        axes.set_xticks(range(len(seconds)), [format_deadline(value) for value in seconds])
        axes.set_yticks(range(len(meters)), [f"{value:g}" for value in meters])
        axes.set_ylabel("distance of every client, m")
    maps[-1].set_xlabel("deadline T")
    largest = max(max(c.saved_percent or 0, c.floor_percent or 0) for c in cells)
    frames = [
        Line2D([], [], color="black", linewidth=width, label=f"at least {percent:g} %")
        for percent, width in zip(goals_percent, _FRAMES, strict=False)
        if percent <= largest
    ]
    text = f"in brackets: {REFERENCE_BASELINES[0]} is late for some client"
    draw_legend(figure, [*frames, Line2D([], [], linestyle="none", label=text)])
    return figure


def _draw_energy(
    axes: Axes, x: np.ndarray, points: Sequence[Point], method: str, methods: Sequence[str]
) -> None:
    low, mean, high = (
        _column(points, method, f"joules_per_client{suffix}") for suffix in ("_p10", "", "_p90")
    )
    style = _style(method, methods)
    color = style["color"]
    axes.plot(x, mean, **style)
    if method in _list_shaded(methods):
        axes.fill_between(x, low, high, color=color, alpha=0.12, linewidth=0)
    is_late = _column(points, method, "late") > 0
    axes.plot(x[~is_late], mean[~is_late], "o", color=color, markersize=5)
    axes.plot(x[is_late], mean[is_late], "o", color=color, markersize=5, markerfacecolor="white")


def _list_shaded(methods: Sequence[str]) -> list[str]:
    """Returns the methods with a band: those of all would mix their colors."""
    return [method for method in methods if method in (methods[0], REFERENCE_BASELINES[0])]


def _list_shares(points: Sequence[Point], methods: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the late uploads of each method in percent, where there are any.

    Under the name of ``_LEFT_OUT``: the clients that were left out, in percent of all.
    """
    uploads, left_out = (_column(points, methods[0], n) for n in ("client_rounds", "infeasible"))
    late = {m: 100 * _column(points, m, "late") / np.maximum(uploads, 1) for m in methods}
    late[_LEFT_OUT] = 100 * left_out / np.maximum(left_out + uploads, 1)
    return {name: share for name, share in late.items() if share.any()}


def _draw_late(
    axes: Axes, x: np.ndarray, shares: Mapping[str, np.ndarray], methods: Sequence[str]
) -> None:
    for name, share in shares.items():
        if name == _LEFT_OUT:
            axes.fill_between(
                x, share, color="silver", label=f"{_LEFT_OUT} by {to_label(methods[0])}"
            )
        else:
            style: dict[str, Any] = {**_style(name, methods), "linewidth": 1.2}
            axes.plot(x, share, **style, label=to_label(name))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.1), handlelength=2.5)
    axes.set(ylabel="late, %", ylim=(0, max(5.0, axes.get_ylim()[1])))


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
    for division in (MAX_FREQUENCY, JOINT_BANDWIDTH):
        if method.endswith(f":{division}"):
            return method.removesuffix(f":{division}"), division
    return method, ""


def _column(points: Sequence[Point], method: str, name: str) -> np.ndarray:
    return np.array([getattr(point.row(method), name) for point in points], float)


def _label_lines(axes: Axes, points: Sequence[Point], methods: Sequence[str]) -> None:
    """Names every line at its end; a line that lies on an earlier one says so."""
    curves: dict[str, np.ndarray] = {}
    labels = []
    for method in methods:
        joules = _column(points, method, "joules_per_client")
        known = joules[joules > 0]
        if not len(known):
            continue
        covers = next((m for m, c in curves.items() if np.allclose(c, joules, rtol=_SAME)), None)
        curves[method] = joules
        text = to_label(method) if covers is None else f"{to_label(method)} = {to_label(covers)}"
        labels.append(Label(0.0, float(known[-1]), text, _style(method, methods)["color"]))
    label_ends(axes, labels)


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
