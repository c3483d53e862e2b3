"""A scenario is what the experiment of the same config plays, image data aside."""

import dataclasses

import jax
import numpy as np
import pytest

from fedjax_diffusion.bits import UNIFORM_ERROR_CURVE
from fedjax_diffusion.experiment.build import build
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.scenario import build_scenario
from tests.tiny import pixel_config


@pytest.mark.parametrize("cycles_per_example", [1e8, None])
def test_fleet_workload_and_plans_are_those_of_the_experiment(cycles_per_example):
    config = to_run_config(pixel_config(workload__cycles_per_example=cycles_per_example))
    experiment = build(config)
    num_examples = np.array([len(part) for part in experiment.parts])
    scenario = build_scenario(config, num_examples, experiment.dataset.images.shape[1:])
    for ours, theirs in (
        (scenario.devices, experiment.devices),
        (vars(scenario.workload), vars(experiment.workload)),
    ):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    state = experiment.simulator.init(experiment.run_key, experiment.data)
    state = state.replace(bit_width_error=np.outer([1.0, 2.0, 3.0], UNIFORM_ERROR_CURVE))
    ours = scenario.make_planner()(scenario.run_key, state.upload_statistics)
    theirs = experiment.plan(experiment.run_key, state.upload_statistics)
    assert ours.baselines.keys() == theirs.baselines.keys() == set(config.allocator.baselines)
    for a, b in ((ours.allocation, theirs.allocation), (ours.problem, theirs.problem)):
        jax.tree.map(np.testing.assert_array_equal, a, b)
    for name, baseline in ours.baselines.items():
        jax.tree.map(np.testing.assert_array_equal, vars(baseline), vars(theirs.baselines[name]))


def test_changing_the_allocator_checks_it():
    scenario = build_scenario(to_run_config(pixel_config()), np.array([5, 6, 7]), (8, 8, 1))
    changed = scenario.replace_allocator(time_budget_seconds=7.0, baselines=("demand",))
    assert (changed.allocator.time_budget_seconds, changed.allocator.baselines) == (
        7.0,
        ("demand",),
    )
    assert changed._replace(allocator=scenario.allocator) == scenario
    assert dataclasses.replace(changed.allocator, method="demand").method == "demand"
    with pytest.raises(ValueError, match=r"allocator\.time_budget_seconds must be a number in"):
        scenario.replace_allocator(time_budget_seconds=0.0)
    with pytest.raises(ValueError, match="method = 'best'"):
        scenario.replace_allocator(baselines=("best",))
