"""Statistics of paired runs: means, and intervals of relative differences."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MIN_DECIDING_SEEDS = 5
"""Pairs of runs from which on a difference is decided; of fewer it is only shown."""


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float]) -> Interval:
    """Returns the mean of independent values and its two-sided 95 % interval, Student's t.

        mean -+ t_{0.975, n-1} s / sqrt(n)

    Args:
      values: [n], n >= 2, assumed normal.

    >>> [round(value, 3) for value in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    from scipy.special import stdtrit

    n = len(values)
    mean = float(np.mean(values))
    half = float(stdtrit(n - 1, 0.975)) * float(np.std(values, ddof=1)) / n**0.5
    return Interval(mean, mean - half, mean + half)


def paired_percent(values: Sequence[float], references: Sequence[float]) -> Interval:
    """Returns the relative difference of values from their references in percent, paired.

    Args:
      values: [n], n >= 2.
      references: [n], of the same seeds, > 0.

    >>> round(paired_percent([11.0, 22.0], [10.0, 20.0]).mean, 9)
    10.0
    """
    ratios = np.asarray(values, float) / np.asarray(references, float)
    return mean_interval(list(100 * ratios - 100))


def count_seeds_to_decide(interval: Interval, num_seeds: int, limit: float) -> int | None:
    """Returns the total number of seeds at which ``limit`` would be outside the interval.

    The mean and the spread are assumed not to change.

    Args:
      interval: of ``mean_interval``.
      num_seeds: number of its seeds, >= 2.
      limit: in the units of the interval.

    Returns:
      The smallest such number; None if it is above a thousand.

    >>> count_seeds_to_decide(Interval(0.0, -5.0, 5.0), 5, 2.0)
    19
    """
    from scipy.special import stdtrit

    numbers = np.arange(2, 1001)
    spread = (interval.high - interval.mean) * num_seeds**0.5 / float(stdtrit(num_seeds - 1, 0.975))
    half = stdtrit(numbers - 1, 0.975) * spread / np.sqrt(numbers)
    decides = numbers[half < abs(limit - interval.mean)]
    return int(decides[0]) if len(decides) else None
