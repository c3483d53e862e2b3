"""What a study varies, and the trends that theorems promise of its rows."""

import functools
import itertools
import operator

import pytest

from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.study import FLOOR, StudyConfig, compare, play_points
from tests.each import check_each
from tests.planning.plans import K
from tests.study.scenarios import METHODS, scenario_of, study_of

SECONDS = (4.0, 6.0, 10.0, 20.0, 60.0)
METERS = (50.0, 100.0, 200.0, 300.0)
FIXED = tuple(m for m in METHODS if m != "demand")


@functools.cache
def play_all():
    return play_points(
        scenario_of(), study_of(time_budgets_seconds=SECONDS, distances_meters=METERS)
    )


def points_of(sweep):
    return [point for point in play_all() if point.sweep == sweep]


def joules_of(sweep, method):
    return [point.row(method).joules_per_client for point in points_of(sweep)]


def test_every_setting_is_played_in_its_order():
    assert [p[1:3] for p in points_of("setting")] == [(20.0, None)]
    assert [p[1:3] for p in points_of("time_budget")] == [(s, None) for s in SECONDS]
    assert [p[1:3] for p in points_of("distance")] == [(20.0, m) for m in METERS]
    pairs = [(s, m) for m in METERS for s in SECONDS]
    assert [p[1:3] for p in points_of("region")] == pairs
    for sweep in ("setting", "time_budget", "distance"):
        for point in points_of(sweep):
            assert [row.method for row in point.rows] == ["on_demand", *METHODS]
    for point in points_of("region"):
        assert [row.method for row in point.rows] == ["on_demand", *REFERENCE_BASELINES, FLOOR]


def test_a_point_is_the_comparison_of_its_setting():
    (setting,) = points_of("setting")
    assert setting.rows == compare(scenario_of(), 3)
    at_6 = next(p for p in points_of("time_budget") if p.time_budget_seconds == 6.0)
    assert at_6.rows == compare(scenario_of(seconds=6.0), 3)
    moved = scenario_of()
    moved = moved._replace(devices=moved.devices.replace(distance_meters=[100.0] * K))
    at_100 = next(p for p in points_of("distance") if p.distance_meters == 100.0)
    assert at_100.rows == compare(moved, 3)


def test_everybody_takes_part_so_that_the_trends_compare_the_same_uploads():
    for sweep in ("time_budget", "distance"):
        assert all(point.rows[0].infeasible == 0 for point in points_of(sweep))


@pytest.mark.parametrize("method", [*FIXED, "demand"])
def test_energy_never_rises_with_the_deadline_nor_falls_with_the_distance(method):
    falling, rising = joules_of("time_budget", method), joules_of("distance", method)
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(falling))
    assert all(b >= a * (1 - 1e-12) for a, b in itertools.pairwise(rising))
    if "max_frequency" not in method:
        assert falling[-1] < 0.5 * falling[0]
    assert rising[-1] > rising[0]


def test_on_demand_follows_to_within_its_gap():
    falling = [point.row("on_demand") for point in points_of("time_budget")]
    for a, b in itertools.pairwise(falling):
        assert b.joules_per_client <= a.joules_per_client / (1 - b.relative_gap_max)
    rising = [point.row("on_demand") for point in points_of("distance")]
    for a, b in itertools.pairwise(rising):
        assert a.joules_per_client <= b.joules_per_client / (1 - a.relative_gap_max)


def test_energy_flattens_as_the_deadline_grows():
    joules = joules_of("time_budget", "full_precision")
    slopes = [
        (a - b) / (t - s)
        for (s, t), (a, b) in zip(
            itertools.pairwise(SECONDS), itertools.pairwise(joules), strict=True
        )
    ]
    assert slopes == sorted(slopes, reverse=True)


@pytest.mark.parametrize(
    ("sweep", "is_wider"), [("time_budget", operator.lt), ("distance", operator.gt)]
)
def test_the_gap_of_full_precision_widens_as_it_gets_harder(sweep, is_wider):
    """A joule per bit costs more where the time is short and the way is long; on time, exactly."""
    points = [point for point in points_of(sweep) if point.row("full_precision").late == 0]
    assert len(points) >= 3
    for low, high in (("fixed_bits:1", "fixed_bits:8"), ("fixed_bits:8", "full_precision")):
        gaps = [p.row(high).joules_per_client - p.row(low).joules_per_client for p in points]
        assert all(is_wider(b, a) for a, b in itertools.pairwise(gaps))


def test_points_pass_through_the_tracker():
    seen = []

    def track(places):
        for place in places:
            seen.append(place)
            yield place

    study = study_of(rounds=1, time_budgets_seconds=(20.0,), distances_meters=(100.0,))
    points = play_points(scenario_of(), study, track)
    assert len(seen) == len(points) == 4


def test_a_setting_that_stops_is_named():
    scenario = scenario_of(on_infeasible="stop")
    study = study_of(rounds=1, time_budgets_seconds=(2.0, 20.0))
    with pytest.raises(ValueError, match=r"^at 2 s: clients \[.*\]: time: "):
        play_points(scenario, study)


def test_where_nobody_can_take_part_anywhere_it_says_why():
    study = study_of(rounds=1, time_budgets_seconds=(0.01,), distances_meters=(100.0,))
    with pytest.raises(ValueError, match="no client can participate in any round"):
        play_points(scenario_of(seconds=0.02), study)
    points = play_points(scenario_of(), study)
    assert [point.rows[0].client_rounds > 0 for point in points] == [True, False, True, False]


BAD_SETTINGS = [
    ({"rounds": 0}, "study.rounds must be a whole number in 1..1000000, got 0"),
    ({"num_examples": 0}, "study.num_examples must be a whole number in 1.*, got 0"),
    ({"num_classes": -1}, "study.num_classes must be a whole number in 1.*, got -1"),
    (
        {"time_budgets_seconds": ()},
        r"study.time_budgets_seconds must be a tuple of 1..1000, .*, got \(\)",
    ),
    ({"time_budgets_seconds": (1, "2")}, "study.time_budgets_seconds: each entry .*, got '2'"),
    ({"time_budgets_seconds": (0, 1)}, "study.time_budgets_seconds: each entry .*, got 0"),
    (
        {"time_budgets_seconds": (1, float("nan"))},
        "study.time_budgets_seconds: each .*, got nan",
    ),
    ({"distances_meters": (100, 50)}, "study.distances_meters must increase"),
    ({"distances_meters": (100, 100)}, "study.distances_meters must increase"),
    ({"distances_meters": (True,)}, "study.distances_meters: each entry must .*, got True"),
    ({"goals_percent": (90, 100)}, r"study.goals_percent: each .* in \(0, 100\), got 100"),
    ({"methods": (*METHODS, "best")}, "study.methods: method = 'best': must be one of"),
    ({"methods": (*METHODS, "relaxed")}, "study.methods: method 'relaxed' gives real numbers"),
    ({"methods": (*METHODS, 8)}, "study.methods: each entry must be a method of .*, got 8"),
    ({"methods": METHODS[1:]}, "study.methods must hold full_precision and full_precision:"),
    ({"methods": (*METHODS, "demand")}, "no method twice"),
    ({"image_shape": (8, 8)}, "study.image_shape must be a tuple of 3, each a whole number"),
    ({"image_shape": (8, 8, 0)}, "study.image_shape: each entry must be a whole .*, got 0"),
    ({"image_shape": (8.0, 8, 1)}, "study.image_shape: each entry must be .*, got 8.0"),
]


def test_bad_settings_are_named():
    def check(fields, message):
        with pytest.raises(ValueError, match=message):
            study_of(**fields)

    check_each(BAD_SETTINGS, check)


def test_lists_will_do_as_well():
    assert study_of(time_budgets_seconds=[1, 2.5]).time_budgets_seconds == [1, 2.5]
    assert isinstance(study_of(image_shape=[8, 8, 1]), StudyConfig)
