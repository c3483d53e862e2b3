"""Checks of a sweep's points before the first of them is played."""

import dataclasses
from collections.abc import Sequence

from fedjax_diffusion.experiment.build import check_config
from fedjax_diffusion.experiment.config import load_config
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.runs.evaluate import check_evaluation
from fedjax_diffusion.sweep.points import Point

NUM_EVALUATED = 2000
"""Images drawn from each finished point, unless the config has another number than the default."""
MAX_CHECKED = 32
"""Points that are checked as a whole; every point's values were checked one by one before."""


def choose_evaluation(config: RunConfig, num_evaluated: int | None = None) -> RunConfig:
    """Returns a sweep's config with the number of images that are evaluated."""
    number = num_evaluated or config.evaluation.num_samples
    default = load_config("configs/default.py").evaluation.num_samples
    if num_evaluated is None and number == default:
        number = NUM_EVALUATED
    evaluation = dataclasses.replace(config.evaluation, num_samples=number)
    return dataclasses.replace(config, evaluation=evaluation)


def check_points(config: RunConfig, points: Sequence[Point], *, is_evaluating: bool) -> None:
    """Raises in advance the ValueError of a point that cannot be played.

    Checks a point of each value of each swept setting but the seed, at most ``MAX_CHECKED``.

    Args:
      config: of the sweep; its group ``evaluation`` is that of all points.
      points: all of them.
      is_evaluating: check the data of the evaluation too.
    """
    for point in choose_checked(points):
        check_point(config, point, is_evaluating=is_evaluating)


def check_point(config: RunConfig, point: Point, *, is_evaluating: bool) -> None:
    """Raises in advance the ValueError of a point that cannot be played, as ``check_points``."""
    try:
        check_config(point.config)
        if is_evaluating:
            check_evaluation(dataclasses.replace(point.config, evaluation=config.evaluation))
    except ValueError as error:
        raise ValueError(f"point {point.label}: {error}") from None


def choose_checked(points: Sequence[Point]) -> list[Point]:
    """Returns points that have every value of every swept setting, evenly thinned if too many.

    That a point leaves a setting as it is counts as a value.
    """
    keys = {key for point in points for key in point.overrides} - {"seed"}
    seen: set[tuple[str, str]] = set()
    chosen = list(points[:1])
    for point in points:
        values = {(key, repr(point.overrides.get(key, ...))) for key in keys}
        if values - seen:
            chosen += [point] if point is not points[0] else []
            seen |= values
    return chosen[:: len(chosen) // (MAX_CHECKED + 1) + 1]
