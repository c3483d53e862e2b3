"""Minima of many functions of one number at once, by golden sections."""

import numpy as np

RATIO = (np.sqrt(5.0) - 1.0) / 2.0


def minimize(fn, low, high, num_steps=32):
    """Returns the place and the least value of each function between its ends.

    Each of them falls and then rises, or does one of both; it may be infinite before it falls. An
    interval is 2e-7 of the first one at the end, so a smooth minimum has all its digits.

    Args:
      fn: maps points to values, of one shape.
      low: the lower ends, of that shape.
      high: the upper ends.
      num_steps: number of sections, each of which leaves 0.618 of the interval.
    """
    ends = low, high
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
    places = np.stack([*ends, left, right])
    values = np.stack([fn(ends[0]), fn(ends[1]), at_left, at_right])
    best = np.argmin(values, axis=0)[None]
    return (np.take_along_axis(rows, best, axis=0)[0] for rows in (places, values))


def least_values(fn, low, high):
    """Returns the least values of ``minimize``."""
    _, values = minimize(fn, low, high)
    return values
