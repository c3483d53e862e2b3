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
    short_end, place, long_end = low, high - RATIO * (high - low), high
    at_place = fn(place)
    for _ in range(num_steps):
        new = long_end - RATIO * (long_end - place)
        at_new = fn(new)
        is_less = np.where(new > place, at_new <= at_place, at_new < at_place)
        short_end, place, long_end = (
            np.where(is_less, place, new),
            np.where(is_less, new, place),
            np.where(is_less, long_end, short_end),
        )
        at_place = np.minimum(at_place, at_new)
    places, values = np.stack([*ends, place]), np.stack([*map(fn, ends), at_place])
    best = np.argmin(values, axis=0)[None]
    return (np.take_along_axis(rows, best, axis=0)[0] for rows in (places, values))


def least_values(fn, low, high):
    """Returns the least values of ``minimize``."""
    _, values = minimize(fn, low, high)
    return values
