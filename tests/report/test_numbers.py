"""Numbers of a report, each against its definition computed another way."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from fedjax_diffusion.report.curves import average, list_curves, read_curves
from fedjax_diffusion.report.front import attain, find_front
from fedjax_diffusion.report.settings import format_values, list_settings, split_by_measure
from fedjax_diffusion.report.statistics import SHOWN, adjust, compare_settings
from fedjax_diffusion.report.target import choose_target, measure_target
from tests.report.made_up import (
    METHODS,
    NUM_ROUNDS,
    hash_of,
    joules_of,
    loss_of,
    make_tables,
    quality_of,
)


@pytest.fixture(scope="module")
def tables():
    return make_tables()


@pytest.fixture(scope="module")
def settings(tables):
    return list_settings(tables)


def test_points_are_grouped_over_seeds_and_bits_make_a_family(settings):
    assert [setting.name for setting in settings] == list(METHODS)
    assert [setting.family for setting in settings] == [
        *["fixed bits"] * 2,
        "on_demand",
        "fixed bits",
    ]
    assert [setting.num_bits for setting in settings] == [2, 8, None, 32]
    assert [setting.is_reference for setting in settings] == [False, False, False, True]
    for setting in settings:
        assert setting.values("quality") == {s: quality_of(setting.name, s) for s in range(5)}
        assert setting.hashes[3] == hash_of(setting.name, 3)


def test_values_of_several_axes_make_a_name_and_one_can_be_left_out():
    tables = make_tables(["fixed_bits:2", "full_precision"], 1, (20.0, 40.0))
    names = [setting.name for setting in list_settings(tables)]
    assert names[0] == "fixed_bits:2, time budget 20 s"
    assert len(set(names)) == 4
    without = list_settings(tables, without="allocator.time_budget_seconds")
    assert [setting.name for setting in without] == ["fixed_bits:2"] * 2 + ["full_precision"] * 2


def test_a_value_is_written_with_its_unit():
    row = {"max_bits": 8, "shadowing_db": 2.5, "num_clients": 10, "a.alpha": 0.1, "b.alpha": 3}
    row |= {"num_classes": None, "is_on": False}
    text = "max 8 bits, shadowing 2.5 dB, 10 clients, a.alpha 0.1, b.alpha 3"
    text += ", num classes None, is on False"
    assert format_values(row, list(row)) == text


def test_a_variant_names_its_points():
    (setting,) = list_settings(make_tables(["full_precision"], variant="plain"))
    assert setting.name == "plain"


def test_qualities_of_other_numbers_of_images_are_kept_apart(tables):
    few = tables.index.to_pylist()
    for row in few[:3]:
        row["num_samples"] = 200
    few[5]["quality"] = None
    parts = split_by_measure(_replace_index(tables, few))
    assert {name: part.index.num_rows for name, part in parts.items()} == {
        "fcd, 2000 images": 16,
        "fcd, 200 images": 3,
    }


def test_courses_are_sums_of_costs_and_the_best_so_far(tables, settings):
    curves = read_curves(tables)
    curve = curves[hash_of("on_demand", 2)]
    rounds = np.arange(NUM_ROUNDS)
    losses = [loss_of("on_demand", 2, r) for r in rounds]
    np.testing.assert_array_equal(curve.columns["loss"], losses)
    np.testing.assert_array_equal(curve.course("loss", "best"), np.minimum.accumulate(losses))
    np.testing.assert_allclose(curve.cost("total_joules"), (rounds + 1) * joules_of("on_demand", 2))
    np.testing.assert_allclose(curve.cost("uplink_bytes"), (rounds + 1) * 0.005)
    np.testing.assert_array_equal(curve.cost("simulated_seconds"), 20.0 * (rounds + 1))
    own = list_curves(settings[2], curves, "quality")
    mean = average(own, "total_joules", "quality", "best")
    assert (len(mean.x), mean.num_seeds) == (NUM_ROUNDS // 2, 5)  # every second round is measured
    assert mean.y[-1] == pytest.approx(
        200 / 6 + np.mean([quality_of("on_demand", s) for s in range(5)])
    )


def test_the_front_is_what_no_other_point_beats():
    rng = np.random.default_rng(0)
    costs, qualities = rng.integers(0, 12, (2, 40)).astype(float)
    front = find_front(list(costs), list(qualities))
    for i in range(40):
        beaten = (costs <= costs[i]) & (qualities <= qualities[i])
        beaten &= (costs < costs[i]) | (qualities < qualities[i])
        equal = (costs == costs[i]) & (qualities == qualities[i])
        assert (not beaten.any()) == any(equal[j] for j in front)


def test_attainment_is_the_quantile_of_the_seeds_own_fronts(settings):
    attained = attain(settings, "total_joules", "quality")
    assert attained.num_seeds == 5
    for number, cost in enumerate(attained.cost):
        best = sorted(
            min(
                (
                    s.values("quality")[seed]
                    for s in settings
                    if s.values("total_joules")[seed] <= cost
                ),
                default=np.inf,
            )
            for seed in range(5)
        )
        expected = best[0], best[2], best[4]
        assert (attained.low[number], attained.median[number], attained.high[number]) == expected
    assert attain(list_settings(make_tables(num_seeds=1)), "total_joules", "quality") is None


def test_p_values_are_those_of_students_test_and_adjusted_by_holm(settings):
    rng = np.random.default_rng(1)
    noisy = make_tables().index.to_pylist()
    for row in noisy:
        row["quality"] += rng.normal()
    noisy_settings = list_settings(_replace_index(make_tables(), noisy))
    rows = compare_settings(noisy_settings, "quality")
    assert [row.setting for row in rows] == ["fixed_bits:2", "fixed_bits:8", "on_demand"]
    reference = np.array(list(noisy_settings[3].values("quality").values()))
    for row, setting in zip(rows, noisy_settings, strict=False):
        percent = 100 * np.array(list(setting.values("quality").values())) / reference - 100
        assert row.p_value == pytest.approx(stats.ttest_1samp(percent, 0).pvalue)
        assert row.percent.mean == pytest.approx(percent.mean())
    plain = [row.p_value for row in rows]
    assert [row.adjusted_p_value for row in rows] == adjust(plain)
    assert rows[0].verdict == "more"  # 2 bits: far worse images
    energy = compare_settings(settings, "total_joules")
    assert [row.verdict for row in energy] == ["less"] * 3


def test_fewer_than_five_pairs_decide_nothing():
    rows = compare_settings(list_settings(make_tables(num_seeds=4)), "total_joules")
    assert {row.verdict for row in rows} == {SHOWN}
    assert {row.num_seeds for row in rows} == {4}


def test_resources_to_a_target_are_those_of_the_first_round_below_it(tables, settings):
    curves = read_curves(tables)
    target = choose_target(settings, curves, "loss")
    best = np.mean(
        [min(loss_of("full_precision", s, r) for r in range(NUM_ROUNDS)) for s in range(5)]
    )
    assert target == pytest.approx(1.05 * best)
    rows = {row.setting: row for row in measure_target(settings, curves, "loss", 0.4)}
    assert rows["fixed_bits:2"].num_reached == 0
    assert rows["fixed_bits:2"].costs == {}
    for method in ("fixed_bits:8", "full_precision"):
        firsts = [
            next((r for r in range(NUM_ROUNDS) if loss_of(method, s, r) <= 0.4), None)
            for s in range(5)
        ]
        reached = [(s, r) for s, r in enumerate(firsts) if r is not None]
        row = rows[method]
        assert (row.num_reached, row.num_seeds) == (len(reached), 5)
        assert row.costs["round"] == np.mean([r + 1 for _, r in reached])
        joules = [(r + 1) * joules_of(method, s) for s, r in reached]
        assert row.costs["total_joules"] == pytest.approx(np.mean(joules))


def _replace_index(tables, rows):
    return dataclasses.replace(tables, index=pa.Table.from_pylist(rows))


def test_rows_of_a_file_are_named_by_their_hash():
    rows = "class,distance_meters\nphone,100\n"
    name = format_values({"devices.csv": rows, "seed": 1}, ["devices.csv"])
    assert name.startswith("csv ")
    assert len(name) == len("csv ") + 8
