"""Comparisons to a tolerance, with a line of text for every number that fails one."""

import numpy as np
from numpy.typing import ArrayLike


class Findings:
    """Violations of an allocation, one line each.

    Args:
      tolerance: relative, of every comparison.

    Attributes:
      lines: the violations so far.

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
        """Returns whether values equal the expected ones, within the tolerance; False for NaN.

        Numbers below the least normal float64, which compiled programs take for 0, equal 0.
        """
        scale = np.maximum(np.abs(values), np.abs(expected))
        slack = self.tolerance * scale + np.finfo(float).tiny
        return np.abs(np.subtract(values, expected)) <= slack

    def is_at_most(self, values: ArrayLike, limit: ArrayLike) -> np.ndarray:
        """Returns whether values are at most their limit, within the tolerance; False for NaN."""
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
          name: the name of the field.
          values: [] or [K], its values.
          is_right: bool, of the same shape.
          must: the requirement in words; ``{}`` is replaced by the expected value.
          expected: [] or [K].
        """
        values, expected = np.asarray(values), np.broadcast_to(expected, np.shape(values))
        for index in np.argwhere(~np.asarray(is_right)).tolist():
            place = f"[{index[0]}]" if index else ""
            value, other = values[tuple(index)], expected[tuple(index)]
            self.lines.append(f"{name}{place} = {value:.12g}: must be {must.format(other)}")
