"""Comparisons to a tolerance, and a line of text about every number that fails one."""

import numpy as np
from numpy.typing import ArrayLike


class Findings:
    """What is wrong, a line each.

    Args:
      tolerance: relative, of every comparison.

    Attributes:
      lines: so far.

    >>> findings = Findings(1e-9)
    >>> power, limit = np.array([0.1, 0.3]), np.array([0.2, 0.2])
    >>> findings.require("power", power, findings.is_at_most(power, limit), "at most {:g}", limit)
    >>> findings.lines
    ['power[1] = 0.3: must be at most 0.2']
    """

    def __init__(self, tolerance: float):
        self.tolerance = tolerance
        self.lines: list[str] = []

    def is_equal(self, values: ArrayLike, expected: ArrayLike) -> np.ndarray:
        """Returns which values are as expected, to the tolerance; not where either is NaN."""
        scale = np.maximum(np.abs(values), np.abs(expected))
        return np.abs(np.subtract(values, expected)) <= self.tolerance * scale

    def is_at_most(self, values: ArrayLike, limit: ArrayLike) -> np.ndarray:
        """Returns which values are within their limit, to the tolerance; not where one is NaN."""
        return np.less_equal(values, np.add(limit, self.tolerance * np.abs(limit)))

    def require(
        self,
        name: str,
        values: ArrayLike,
        is_right: ArrayLike,
        must: str,
        expected: ArrayLike = 0.0,
    ) -> None:
        """Adds a line for every entry that is not right.

        Args:
          name: of the field.
          values: [] or [K], what it holds.
          is_right: bool, likewise.
          must: what it must be; ``{}`` stands for what was expected.
          expected: [] or [K].
        """
        values, expected = np.asarray(values), np.broadcast_to(expected, np.shape(values))
        for index in np.argwhere(~np.asarray(is_right)).tolist():
            place = f"[{index[0]}]" if index else ""
            value, other = values[tuple(index)], expected[tuple(index)]
            self.lines.append(f"{name}{place} = {value:.12g}: must be {must.format(other)}")
