"""Whether a run's measured quantization errors keep their bounds.

The bound is one of the mean over the quantizer's random numbers, so a round may lie somewhat above
it. The stochastic rounding of one client stays below 4 times its bound: an entry is wrong by less
than its step, and the bound allows half a step.
"""

from collections.abc import Mapping
from typing import Any

FAR = 4.0
"""An error of more than so many times its bound is a mistake in the quantizer's error curve."""


class ErrorBounds:
    """Running comparison of the measured quantization error with its bound, round by round."""

    def __init__(self):
        """Begins with no rounds."""
        self._num_far, self._largest, self._round = 0, 0.0, 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds one line of metrics.jsonl; a round without a finite error or bound says nothing."""
        error, bound = record.get("quantization_error"), record.get("quantization_error_bound")
        if error is None or not bound:
            return
        factor = error / bound
        self._num_far += factor > FAR
        if factor > self._largest:
            self._largest, self._round = factor, record["round"]

    def summarize(self) -> dict[str, Any]:
        """Returns the fields of summary.json on bounds that were missed by far."""
        return {
            "rounds_far_above_bound": self._num_far,
            "largest_error_over_bound": self._largest,
            "round_of_largest_error": self._round,
        }


def explain_errors(summary: Mapping[str, Any]) -> str | None:
    """Returns a sentence if measured errors were far above their bounds; else None.

    >>> explain_errors({
    ...     "rounds_far_above_bound": 2,
    ...     "largest_error_over_bound": 8.04,
    ...     "round_of_largest_error": 3,
    ... })[:72]
    'the measured quantization error was 8.04 times its bound in round 3, and'
    """
    number = summary.get("rounds_far_above_bound")  # earlier versions did not compare
    if not number:
        return None
    rounds = "1 round" if number == 1 else f"{number} rounds"
    return (
        f"the measured quantization error was {summary['largest_error_over_bound']:.3g} "
        f"times its bound in round {summary['round_of_largest_error']}, and more than {FAR:g} "
        f"times in {rounds}: the quantizer's error_bound is too small, and so may be the error "
        "that the allocator counts with"
    )
