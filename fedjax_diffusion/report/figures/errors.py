"""Figure of the quantization error against bits, with its bound."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fedjax_diffusion.host.figure_labels import draw_legend
from fedjax_diffusion.host.figure_style import (
    FAINT,
    make_looks,
    to_label,
    use_bits_scale,
    use_log_scale,
)
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.report.curves import Curve, read_curves
from fedjax_diffusion.report.figures.marks import MAX_SHOWN
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import Setting, list_settings
from fedjax_diffusion.report.tables import ReportTables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MIN_RATIO = 1.2
"""Of the most bits and the fewest; an axis of less says nothing."""
ERROR, BOUND = "quantization_error", "quantization_error_bound"


class ErrorPoint(NamedTuple):
    """The quantization error of one point of a report.

    Attributes:
      family: of its setting.
      bits: bits per parameter, mean over the uploads.
      error: squared error of the mean update, mean over the rounds, squared parameter units.
      bound: its bound with the sent ranges, mean over the rounds; NaN if it is not known.
    """

    family: str
    bits: float
    error: float
    bound: float


def list_errors(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the figure if points have an error whose numbers of bits clearly differ."""
    bits = [point.bits for point in measure_errors(tables)]
    if bits and max(bits) > _MIN_RATIO * min(bits):
        yield NamedFigure(
            "error_bits",
            "Quantization error against bits",
            "Squared error of the mean update, in squared parameter units, against bits per "
            "parameter; a dot per point, mean over its rounds, both axes logarithmic. Dashes: our "
            "bound on its mean, with the ranges that were sent. Points without error (float32) "
            "have no place here.",
            partial(draw_errors, tables),
        )


def measure_errors(tables: ReportTables) -> list[ErrorPoint]:
    """Returns the error of each point that has one above zero."""
    curves = read_curves(tables)
    points = [
        _measure(setting, row, curves[row["hash"]])
        for setting in list_settings(tables)
        for row in setting.rows.values()
        if row["hash"] in curves and row["mean_bits"] is not None
    ]
    return [point for point in points if point.error > 0]


def _measure(setting: Setting, row: Mapping, curve: Curve) -> ErrorPoint:
    error, bound = (_mean_known(curve.columns.get(name)) for name in (ERROR, BOUND))
    return ErrorPoint(setting.family, row["mean_bits"], error, bound)


def _mean_known(values: np.ndarray | None) -> float:
    known = values[np.isfinite(values)] if values is not None else np.zeros(0)
    return float(known.mean()) if len(known) else np.nan


@default_style()
def draw_errors(tables: ReportTables) -> "Figure":
    """Draws the quantization error of every point over its bits, and the bound of each."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    points = measure_errors(tables)
    looks = make_looks(_choose_families(points))
    figure = Figure(figsize=(5.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for family in dict.fromkeys(point.family for point in points):
        own = sorted((point for point in points if point.family == family), key=lambda p: p.bits)
        bits, error, bound = ([p[i] for p in own] for i in (1, 2, 3))
        color = looks[family].color if family in looks else FAINT
        marker = looks[family].marker if family in looks else "o"
        axes.plot(bits, bound, "_", color=color, markersize=11, markeredgewidth=1.6)
        axes.plot(bits, error, marker, color=color, markersize=4, label=to_label(family))
    axes.set(xlabel="bits per parameter", ylabel="squared error of the mean update")
    use_bits_scale(axes.xaxis)
    use_log_scale(axes.yaxis)
    handles = [Line2D([], [], **look.dot, label=to_label(f)) for f, look in looks.items()]
    bar = {"color": "0.3", "marker": "_", "markersize": 11, "markeredgewidth": 1.6}
    draw_legend(figure, [*handles, Line2D([], [], linestyle="none", **bar, label="bound")])
    return figure


def _choose_families(points: Sequence[ErrorPoint]) -> list[str]:
    """Returns the families in color: those with the most points."""
    families = [point.family for point in points]
    most = sorted(dict.fromkeys(families), key=lambda family: -families.count(family))
    return most[:MAX_SHOWN]
