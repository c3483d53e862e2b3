"""Differences of settings from the reference, paired by seed, and what they decide."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedjax_diffusion.report.settings import Setting
from fedjax_diffusion.sweep.pairs import MIN_DECIDING_SEEDS, Interval, paired_percent

ERROR_RATE = 0.05
SHOWN, UNDECIDED, LESS, MORE = "shown, not decided", "not decided", "less", "more"


class Difference(NamedTuple):
    """Difference of a setting from the reference in one quantity.

    Attributes:
      setting: its name.
      num_seeds: paired seeds, those of which both have a value.
      percent: mean difference in percent of the reference, with a 95 % interval of Student's t.
      p_value: two-sided, of Student's t on the paired differences.
      adjusted_p_value: the same by Holm's method over all settings of the comparison.
      verdict: ``"shown, not decided"`` below five seeds; else ``"less"`` or ``"more"`` if the
        adjusted value is below 0.05; else ``"not decided"``.
    """

    setting: str
    num_seeds: int
    percent: Interval
    p_value: float
    adjusted_p_value: float
    verdict: str


def compare_settings(settings: Sequence[Setting], column: str) -> list[Difference]:
    """Returns the difference of each setting from the reference in a column of the index.

    Args:
      settings: those of a report. One of them is the reference; without one, the list is empty.
      column: of the index; its values are above zero.

    Returns:
      One per setting with two or more seeds that the reference has too, in the settings' order.
    """
    reference = next((s.values(column) for s in settings if s.is_reference), {})
    pairs = {}
    for setting in settings:
        values = setting.values(column)
        seeds = [seed for seed in values if reference.get(seed, 0.0) > 0]
        if not setting.is_reference and len(seeds) >= 2:
            pairs[setting.name] = [values[s] for s in seeds], [reference[s] for s in seeds]
    percents = {name: paired_percent(*pair) for name, pair in pairs.items()}
    numbers = {name: len(values) for name, (values, _) in pairs.items()}
    plain = [_p_value(percents[name], numbers[name]) for name in pairs]
    return [
        Difference(name, numbers[name], percents[name], p, adjusted, verdict)
        for name, p, adjusted in zip(pairs, plain, adjust(plain), strict=True)
        for verdict in [_decide(percents[name], numbers[name], adjusted)]
    ]


def adjust(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for their number by Holm's method, in the given order.

    Source: S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    >>> adjust([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.take(p_values, order) * factors), 1.0)
    return [float(value) for value in adjusted]


def _p_value(percent: Interval, num_seeds: int) -> float:
    """Returns the two-sided p-value of a mean difference, from its 95 % interval."""
    from scipy.special import stdtr, stdtrit

    error = (percent.high - percent.mean) / float(stdtrit(num_seeds - 1, 0.975))
    if error == 0:
        return float(percent.mean == 0)
    return 2 * float(stdtr(num_seeds - 1, -abs(percent.mean) / error))


def _decide(percent: Interval, num_seeds: int, adjusted: float) -> str:
    if num_seeds < MIN_DECIDING_SEEDS:
        return SHOWN
    if adjusted >= ERROR_RATE:
        return UNDECIDED
    return LESS if percent.mean < 0 else MORE
