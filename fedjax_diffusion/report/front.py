"""Front of quality and cost: the settings that no other beats in both, and its uncertainty."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedjax_diffusion.report.settings import Setting

_QUANTILES = (0.1, 0.5, 0.9)


class Attainment(NamedTuple):
    """Empirical attainment of the fronts of single seeds.

    Attributes:
      cost: float [n], ascending.
      low: float [n], the quality that 10 % of the seeds reach at this cost; infinite if fewer do.
      median: float [n], the same of half of the seeds.
      high: float [n], the same of 90 % of the seeds.
      num_seeds: number of seeds.
    """

    cost: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray
    num_seeds: int


def find_front(costs: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """Returns the points for which no other costs at most as much and is better, by cost.

    Args:
      costs: float [n].
      qualities: float [n], smaller is better.

    >>> find_front([1.0, 2.0, 3.0, 2.5], [9.0, 4.0, 5.0, 3.0])
    [0, 1, 3]
    """
    front: list[int] = []
    for index in np.lexsort((qualities, costs)):
        if not front or qualities[index] < qualities[front[-1]]:
            front.append(int(index))
    return front


def list_paired_seeds(settings: Sequence[Setting], *columns: str) -> list[int]:
    """Returns the seeds that every setting has finished, ascending.

    Args:
      settings: at least one.
      columns: of the index, which must have a value.
    """
    seeds = [set(setting.values(column)) for setting in settings for column in columns]
    return sorted(set.intersection(*seeds))


def attain(settings: Sequence[Setting], cost: str, quality: str) -> Attainment | None:
    """Returns the quality that seeds attain with at most a cost, each on its own front.

    Args:
      settings: the points, paired by seed.
      cost: column of the index.
      quality: column of the index, smaller is better.

    Returns:
      The attainment over the seeds that all settings have; None for fewer than two.
    """
    seeds = list_paired_seeds(settings, cost, quality) if settings else []
    if len(seeds) < 2:
        return None
    costs = np.array([[s.values(cost)[seed] for s in settings] for seed in seeds])
    qualities = np.array([[s.values(quality)[seed] for s in settings] for seed in seeds])
    grid = np.unique(costs)
    best = np.empty((len(seeds), len(grid)))
    for row, (own_costs, own) in enumerate(zip(costs, qualities, strict=True)):
        order = np.argsort(own_costs, kind="stable")
        reached = np.concatenate([[np.inf], np.minimum.accumulate(own[order])])
        best[row] = reached[np.searchsorted(own_costs[order], grid, side="right")]
    low, median, high = np.quantile(best, _QUANTILES, axis=0, method="inverted_cdf")
    return Attainment(grid, low, median, high, len(seeds))
