"""What a study varies: the deadline, the distance, and both at once."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fedjax_diffusion.allocation import parse_method
from fedjax_diffusion.experiment.scenario import Scenario
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.study.energy import StudyRow, compare

FLOOR = "fixed_bits:1"
"""The cheapest quantized method: what it saves, no other can exceed by much."""
SWEEPS = ("setting", "time_budget", "distance", "region")
"""The config's own setting; one thing varied; deadline and distance both varied."""


@dataclass(frozen=True)
class StudyConfig:
    """What a study varies, and the outline of a data set whose images it does not need.

    Attributes:
      rounds: R >= 1, channel draws that each point averages over.
      time_budgets_seconds: T, increasing, > 0.
      distances_meters: increasing, > 0; all clients stand at each of them in turn.
      methods: of ``allocate``, whole bits; those of ``REFERENCE_BASELINES`` must be among them.
      goals_percent: savings, in (0, 100), of which the study says where they are reached.
      image_shape: (H, W, C).
      num_examples: N >= 1 images, spread over the clients by the config's ``partition``.
      num_classes: of N / num_classes images each, to within one.

    Raises:
      ValueError: a value outside of these.
    """

    rounds: int
    time_budgets_seconds: tuple[float, ...]
    distances_meters: tuple[float, ...]
    methods: tuple[str, ...]
    goals_percent: tuple[float, ...]
    image_shape: tuple[int, int, int]
    num_examples: int
    num_classes: int

    def __post_init__(self):
        for name in ("rounds", "num_examples", "num_classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"study.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("time_budgets_seconds", "distances_meters", "goals_percent"):
            _check_numbers(name, getattr(self, name))
        if max(self.goals_percent) >= 100:
            raise ValueError(f"study.goals_percent must be below 100, got {self.goals_percent}")
        _check_methods(self.methods)
        is_whole = all(isinstance(n, int) and n >= 1 for n in self.image_shape)
        if len(self.image_shape) != 3 or not is_whole:
            raise ValueError(
                f"study.image_shape must be (H, W, C), whole numbers >= 1, got {self.image_shape}"
            )


class Point(NamedTuple):
    """One setting of a study.

    Attributes:
      sweep: one of ``SWEEPS``.
      time_budget_seconds: T.
      distance_meters: of every client; None: each at its own place in the fleet.
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
"""Passes the points on as they are played, and may show how far it has come."""


def play_points(scenario: Scenario, study: StudyConfig, track: Track = iter) -> list[Point]:
    """Plays every point of a study: ``setting``, ``time_budget``, ``distance``, then ``region``.

    The sweeps compare all methods; the region, which has a point for every pair of deadline and
    distance, only ``REFERENCE_BASELINES`` and ``FLOOR``.

    Args:
      scenario: the fleet, at its own places and with its own deadline.
      study: what to vary.
      track: wraps the points, as ``tqdm`` does.

    Raises:
      ValueError: a client cannot participate although ``on_infeasible`` is ``"stop"``, or nobody
        can at any point; names the setting.
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
    if not any(row.client_rounds for point in points for row in point.rows):
        scenario.make_planner()  # says why nobody can
    return points


def _move(
    scenario: Scenario, methods: Sequence[str], seconds: float, meters: float | None
) -> Scenario:
    """Returns the scenario with other baselines, another deadline, all clients at a distance."""
    own = scenario.allocator.method
    baselines = tuple(method for method in methods if method != own)
    moved = scenario.replace_allocator(time_budget_seconds=float(seconds), baselines=baselines)
    if meters is None:
        return moved
    distance_meters = np.full(len(scenario.num_examples), float(meters))
    devices = dataclasses.replace(moved.devices, distance_meters=distance_meters)
    return moved._replace(devices=devices)


def _check_numbers(name: str, values: Sequence[float]) -> None:
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not values or not is_number or not all(0 < value < np.inf for value in values):
        raise ValueError(f"study.{name} must be numbers above 0, got {values}")
    if list(values) != sorted(set(values)):
        raise ValueError(f"study.{name} must increase, got {values}")


def _check_methods(methods: Sequence[str]) -> None:
    for method in methods:
        if not isinstance(method, str):
            raise ValueError(f"study.methods must be names, got {method!r}")
        try:
            spec = parse_method(method)
        except ValueError as error:
            raise ValueError(f"study.methods: {error}") from None
        if not spec.method.gives_whole_bits:
            raise ValueError(f"study.methods: {method!r} gives real numbers of bits, not whole")
    missing = [baseline for baseline in REFERENCE_BASELINES if baseline not in methods]
    if missing or len(set(methods)) < len(methods):
        raise ValueError(
            f"study.methods must hold {' and '.join(REFERENCE_BASELINES)} and each method once, "
            f"got {methods}"
        )
