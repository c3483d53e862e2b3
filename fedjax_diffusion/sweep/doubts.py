"""Doubts about the results of a sweep: errors far above their bounds, features that differ."""

from collections.abc import Sequence

from fedjax_diffusion.runs.error_bounds import explain_errors
from fedjax_diffusion.sweep.features import list_conflicts
from fedjax_diffusion.sweep.listing import PointName
from fedjax_diffusion.sweep.states import PointState

_ENOUGH = 20
"""Points with too large errors that are named."""


def list_doubts(points: Sequence[PointName], states: Sequence[PointState]) -> list[str]:
    """Returns a line for each finished point whose result is to be taken with care.

    Args:
      points: of a sweep, or one that stands for a run.
      states: one per point.
    """
    lines = []
    for point, state in zip(points, states, strict=True):
        text = explain_errors(state.summary or {})
        lines += [] if text is None else [f"{point.label}: {text}"]
    more = [f"and {len(lines) - _ENOUGH} more points with such errors"] * (len(lines) > _ENOUGH)
    return [*lines[:_ENOUGH], *more, *list_conflicts(points, states)]
