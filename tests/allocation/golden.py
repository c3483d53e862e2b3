"""Minima of many functions of one number at once, by golden sections."""

import numpy as np

RATIO = (np.sqrt(5.0) - 1.0) / 2.0


def least_values(fn, low, high, num_steps=32):
    """Returns the least value of each function between its ends.

    Each of them falls and then rises, or does one of both; it may be infinite before it falls. An
    interval is 2e-7 of the first one at the end, so a smooth minimum has all its digits.

    Args:
      fn: maps points to values, of one shape.
      low: the lower ends, of that shape.
      high: the upper ends.
      num_steps: number of sections, each of which leaves 0.618 of the interval.
    """
    at_ends = np.minimum(fn(low), fn(high))
    left, right = high - RATIO * (high - low), low + RATIO * (high - low)
    at_left, at_right = fn(left), fn(right)
    for _ in range(num_steps):
        is_left = at_left < at_right
        low, high = np.where(is_left, low, left), np.where(is_left, right, high)
        width = RATIO * (high - low)
        new = np.where(is_left, high - width, low + width)
        at_new = fn(new)
        left, right = np.where(is_left, new, right), np.where(is_left, left, new)
        at_left, at_right = (
            np.where(is_left, at_new, at_right),
            np.where(is_left, at_left, at_new),
        )
    return np.minimum(at_ends, np.minimum(at_left, at_right))
