"""Course of each point over its rounds: what it has cost, and the best that it has reached."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from fedjax_diffusion.report.settings import Setting
from fedjax_diffusion.report.tables import ReportTables

COSTS = {
    "round": "completed rounds",
    "uplink_bytes": "uploaded, MB",
    "total_joules": "energy, J",
    "simulated_seconds": "simulated time, s",
}
"""Costs of a run, and how an axis names them."""
_TEXTS = ("hash", "label", "quality_name")
_PER_MEGABYTE = 1e6
Course = Literal["value", "best", "total"]


class Curve(NamedTuple):
    """The rounds of one point, in order.

    Attributes:
      columns: float [n] each, of the table of rounds; NaN where there is no value.
    """

    columns: Mapping[str, np.ndarray]

    def cost(self, name: str) -> np.ndarray:
        """Returns the sum of the costs up to each round, float [n].

        Args:
          name: a key of ``COSTS``, whose unit holds.
        """
        if name == "round":
            return self.columns["round"] + 1
        if name == "simulated_seconds":
            return self.columns[name]
        total = np.nancumsum(self.columns[name])
        return total / _PER_MEGABYTE if name == "uplink_bytes" else total

    def course(self, name: str, course: Course) -> np.ndarray:
        """Returns a column as it is drawn, float [n]; NaN before the first value.

        Args:
          name: of the column.
          course: ``"value"`` of each round; ``"best"``, the smallest so far; ``"total"``, as
            ``cost`` gives it.
        """
        if course == "total":
            return self.cost(name)
        values = self.columns[name]
        return np.fmin.accumulate(values) if course == "best" else values

    def is_measured(self, name: str) -> np.ndarray:
        """Returns whether a column has a value, bool [n]."""
        return np.isfinite(self.columns[name])


class MeanCurve(NamedTuple):
    """Means over the seeds of a setting, at the rounds that all of them have.

    Attributes:
      x: float [n].
      y: float [n].
      num_seeds: number of seeds.
    """

    x: np.ndarray
    y: np.ndarray
    num_seeds: int


def read_curves(tables: ReportTables) -> dict[str, Curve]:
    """Returns the rounds of each point by its hash; points without rounds are missing."""
    if tables.rounds.num_rows == 0:
        return {}
    names = [name for name in tables.rounds.column_names if name not in _TEXTS]
    columns = {
        name: np.asarray(tables.rounds[name].to_numpy(zero_copy_only=False), float)
        for name in names
    }
    hashes, points = np.unique(tables.rounds["hash"].to_pylist(), return_inverse=True)
    points = np.ravel(points)
    order = np.lexsort((columns["round"], points))
    ends = np.searchsorted(points[order], np.arange(len(hashes) + 1))
    return {
        str(name): Curve({key: column[order[start:end]] for key, column in columns.items()})
        for name, start, end in zip(hashes, ends[:-1], ends[1:], strict=True)
    }


def list_curves(setting: Setting, curves: Mapping[str, Curve], column: str) -> list[Curve]:
    """Returns the curves of a setting's points that have any value in a column."""
    own = [curves[name] for name in setting.hashes.values() if name in curves]
    return [curve for curve in own if column in curve.columns and curve.is_measured(column).any()]


def average(curves: Sequence[Curve], cost: str, column: str, course: Course) -> MeanCurve:
    """Returns the mean course of a column over a cost.

    Args:
      curves: of the seeds of one setting, at least one.
      cost: a key of ``COSTS``.
      column: of the table of rounds.
      course: as of ``Curve.course``.
    """
    num_rounds = min(len(curve.columns["round"]) for curve in curves)
    is_there = np.all([curve.is_measured(column)[:num_rounds] for curve in curves], axis=0)
    values = [curve.course(column, course) for curve in curves]
    x = np.mean([curve.cost(cost)[:num_rounds] for curve in curves], axis=0)
    y = np.mean([value[:num_rounds] for value in values], axis=0)
    return MeanCurve(x[is_there], y[is_there], len(curves))
