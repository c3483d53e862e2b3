"""Savings of quantization over deadline and distance, and the cells that reach a goal."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.study.points import FLOOR, Point


class Cell(NamedTuple):
    """One deadline and distance.

    Attributes:
      time_budget_seconds: T.
      distance_meters: of every client.
      saved_percent: joules that the study's own method saves against full precision with the
        optimal split of the time; None if no client can participate.
      floor_percent: the same saving of one bit for every client.
      is_late: full precision misses the deadline for some client and is charged for it.
    """

    time_budget_seconds: float
    distance_meters: float
    saved_percent: float | None
    floor_percent: float | None
    is_late: bool


class Goal(NamedTuple):
    """Cells that reach a saving, and cells that do not.

    Attributes:
      percent: the saving.
      reached: cells in which the study's own method reaches it.
      missed: the other cells in which some client participates.
      out_of_reach: the missed cells in which one bit for every client does not reach it either.
    """

    percent: float
    reached: list[Cell]
    missed: list[Cell]
    out_of_reach: list[Cell]


def to_cells(points: Sequence[Point]) -> list[Cell]:
    """Returns the cells of a study's region, by distance, then by deadline."""
    return [
        Cell(
            time_budget_seconds=point.time_budget_seconds,
            distance_meters=float(point.distance_meters or 0.0),
            saved_percent=point.rows[0].saved_percent_full_precision,
            floor_percent=point.row(FLOOR).saved_percent_full_precision,
            is_late=point.row(REFERENCE_BASELINES[0]).late > 0,
        )
        for point in points
        if point.sweep == "region"
    ]


def find_goal(cells: Sequence[Cell], percent: float) -> Goal:
    """Returns the cells that reach a saving of ``percent``, miss it, or cannot reach it."""
    reached, missed, out_of_reach = [], [], []
    for cell in cells:
        if cell.saved_percent is None or cell.floor_percent is None:
            continue
        (reached if cell.saved_percent >= percent else missed).append(cell)
        if max(cell.saved_percent, cell.floor_percent) < percent:
            out_of_reach.append(cell)
    return Goal(percent, reached, missed, out_of_reach)


def format_saving(percent: float | None, is_late: bool) -> str:
    """Returns a saving in whole percents, rounded down; in brackets if the baseline is late.

    >>> format_saving(83.96, is_late=True), format_saving(None, is_late=False)
    ('(83)', '-')
    """
    text = "-" if percent is None else f"{math.floor(percent)}"
    return f"({text})" if is_late else text


def format_deadline(seconds: float) -> str:
    """Returns a deadline as text: seconds, from two hours on hours, from two days on days.

    >>> [format_deadline(seconds) for seconds in (0.5, 600, 64_800, 604_800)]
    ['0.5 s', '600 s', '18 h', '7 d']
    """
    for unit, length in (("d", 86_400.0), ("h", 3600.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
