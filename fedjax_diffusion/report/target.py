"""Resources that each setting needs to reach a target: rounds, bytes, joules and seconds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fedjax_diffusion.report.curves import COSTS, Curve, list_curves
from fedjax_diffusion.report.settings import Setting

TOLERANCE_PERCENT = 5.0
"""Distance of the target above the best of the reference."""


class TargetRow(NamedTuple):
    """Resources of one setting until it reaches the target.

    Attributes:
      setting: its name.
      num_seeds: number of its points with a value in any round.
      num_reached: those that reached the target.
      costs: mean over these of each of ``COSTS``, in its unit there; empty if none reached it.
    """

    setting: str
    num_seeds: int
    num_reached: int
    costs: Mapping[str, float]


def choose_target(
    settings: Sequence[Setting], curves: Mapping[str, Curve], column: str
) -> float | None:
    """Returns the target: 5 % above the best that the reference reaches, in the mean of its seeds.

    Without a reference it is that of the setting in the middle of all, by their best.

    Args:
      settings: those of a report.
      curves: of its points, by hash.
      column: of the table of rounds, smaller is better.

    Returns:
      None if there is no value, or if the reference has none.
    """
    bests = {
        setting.name: float(np.mean([curve.course(column, "best")[-1] for curve in own]))
        for setting in settings
        if (own := list_curves(setting, curves, column))
    }
    if not bests:
        return None
    reference = next((setting.name for setting in settings if setting.is_reference), None)
    if reference is None:
        best = sorted(bests.values())[(len(bests) - 1) // 2]
    elif reference in bests:
        best = bests[reference]
    else:
        return None
    return best + abs(best) * TOLERANCE_PERCENT / 100


def measure_target(
    settings: Sequence[Setting], curves: Mapping[str, Curve], column: str, target: float
) -> list[TargetRow]:
    """Returns the resources of each setting until its best first is at most the target.

    Args:
      settings: those of a report; one without any value in the column has no row.
      curves: of its points, by hash.
      column: of the table of rounds, smaller is better.
      target: in the column's unit.
    """
    rows = []
    for setting in settings:
        own = list_curves(setting, curves, column)
        reached = [
            {name: float(curve.cost(name)[first]) for name in COSTS}
            for curve in own
            if (first := _find_first(curve.course(column, "best"), target)) is not None
        ]
        costs = {name: float(np.mean([c[name] for c in reached])) for name in COSTS if reached}
        if own:
            rows.append(TargetRow(setting.name, len(own), len(reached), costs))
    return rows


def _find_first(best: np.ndarray, target: float) -> int | None:
    is_reached = best <= target
    return int(np.argmax(is_reached)) if is_reached.any() else None
