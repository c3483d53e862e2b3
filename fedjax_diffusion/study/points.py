"""Points of a study: varied deadline, varied distance, and both at once."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fedjax_diffusion.experiment.scenario import Scenario
from fedjax_diffusion.experiment.study_config import StudyConfig
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.planning.planner import InfeasibleFleetError
from fedjax_diffusion.study.energy import StudyRow, compare

FLOOR = "fixed_bits:1"
"""One bit for every client: close to the largest saving that quantization can give."""
SWEEPS = ("setting", "time_budget", "distance", "region")
"""The config's own setting; only the deadline or only the distance varied; both varied."""


class Point(NamedTuple):
    """One setting of a study.

    Attributes:
      sweep: one of ``SWEEPS``.
      time_budget_seconds: T.
      distance_meters: of every client; None: each client's own distance in the fleet.
      rows: one per method, the scenario's own method first.
    """

    sweep: str
    time_budget_seconds: float
    distance_meters: float | None
    rows: Sequence[StudyRow]

    def row(self, method: str) -> StudyRow:
        """Returns the row of one method."""
        return next(row for row in self.rows if row.method == method)


Track = Callable[[Sequence], Iterable]
"""Wrapper of the iteration over points that may show the progress."""


def play_points(scenario: Scenario, study: StudyConfig, track: Track = iter) -> list[Point]:
    """Computes all points of a study: ``setting``, ``time_budget``, ``distance``, ``region``.

    The sweeps compare all methods. The region has a point for every pair of deadline and distance
    and compares only ``REFERENCE_BASELINES`` and ``FLOOR``.

    Args:
      scenario: the fleet, with its own distances and its own deadline.
      study: the settings of the study.
      track: wraps the points, as ``tqdm`` does.

    Raises:
      ValueError: a client cannot participate although ``on_infeasible`` is ``"stop"``, or no client
        can at any point; the message names the setting.
    """
    own_seconds = scenario.allocator.time_budget_seconds
    places = [("setting", own_seconds, None)]
    places += [("time_budget", seconds, None) for seconds in study.time_budgets_seconds]
    places += [("distance", own_seconds, meters) for meters in study.distances_meters]
    places += [
        ("region", seconds, meters)
        for meters in study.distances_meters
        for seconds in study.time_budgets_seconds
    ]
    check_anyone(scenario, study)
    points = []
    for sweep, seconds, meters in track(places):
        methods = (*REFERENCE_BASELINES, FLOOR) if sweep == "region" else study.methods
        moved = _move(scenario, methods, seconds, meters)
        try:
            rows = compare(moved, study.rounds)
        except ValueError as error:
            where = "" if meters is None else f" and {meters:g} m"
            raise ValueError(f"at {seconds:g} s{where}: {error}") from None
        points.append(Point(sweep, float(seconds), meters and float(meters), rows))
    return points


def check_anyone(scenario: Scenario, study: StudyConfig) -> None:
    """Raises the ValueError of ``play_points`` if no client can participate at any point.

    The longest deadline and the shortest distance are the easiest, so four points are tried.
    """
    own = scenario.allocator.time_budget_seconds
    longest, shortest = max(study.time_budgets_seconds), min(study.distances_meters)
    for seconds, meters in ((own, None), (longest, None), (own, shortest), (longest, shortest)):
        with contextlib.suppress(InfeasibleFleetError):
            _move(scenario, (), seconds, meters).make_planner()
            return
    scenario.make_planner()  # raises with the reason


def _move(
    scenario: Scenario, methods: Sequence[str], seconds: float, meters: float | None
) -> Scenario:
    """Returns the scenario with other baselines, deadline and distance of all clients."""
    own = scenario.allocator.method
    baselines = tuple(method for method in methods if method != own)
    moved = scenario.replace_allocator(time_budget_seconds=float(seconds), baselines=baselines)
    if meters is None:
        return moved
    distance_meters = np.full(len(scenario.num_examples), float(meters))
    devices = dataclasses.replace(moved.devices, distance_meters=distance_meters)
    return moved._replace(devices=devices)
