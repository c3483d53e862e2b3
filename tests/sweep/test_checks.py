"""Points are checked before the first is played: each value of each setting, not each product."""

import pytest

from fedjax_diffusion.sweep import hyper
from fedjax_diffusion.sweep.checks import (
    MAX_CHECKED,
    check_points,
    choose_checked,
    choose_evaluation,
)
from fedjax_diffusion.sweep.points import expand
from tests.sweep.stubs import CONFIG, make_points
from tests.tiny import tiny_config


def test_each_value_is_checked_once_and_seeds_are_not():
    points = make_points(
        hyper.sweep("local_work.local_steps", range(1, 5)),
        hyper.sweep("num_rounds", [1, 2, 3]),
        hyper.sweep("seed", range(5)),
    )
    chosen = choose_checked(points)
    assert len(chosen) == 6
    for key in ("local_work.local_steps", "num_rounds"):
        assert {p.overrides[key] for p in chosen} == {p.overrides[key] for p in points}
    assert len(choose_checked(make_points())) == 1
    left = expand(CONFIG, lambda h: [{"num_rounds": 2}, {"num_rounds": 3}, {}, {"seed": 2}])
    assert choose_checked(left) == left[:3]
    assert choose_checked([]) == []
    many = make_points(hyper.sweep("num_rounds", range(1, 200)))
    assert len(choose_checked(many)) <= MAX_CHECKED


def test_a_point_that_cannot_be_played_is_named_before_the_first():
    config = tiny_config()
    points = expand(config, lambda h: h.sweep("allocator.time_budget_seconds", [20.0, 1e-3]))
    with pytest.raises(ValueError, match=r"point \S*0\.001: .*no client can participate"):
        check_points(points[0].config, points, is_evaluating=False)


def test_a_sweep_evaluates_fewer_images_unless_the_config_says_so():
    few = choose_evaluation(CONFIG)
    assert few.evaluation.num_samples == 2000
    assert choose_evaluation(CONFIG, 5000).evaluation.num_samples == 5000
    assert choose_evaluation(choose_evaluation(CONFIG, 70)).evaluation.num_samples == 70
