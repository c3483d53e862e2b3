"""A method that a user registers: what it sees, what its answer becomes, and its checks."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.allocation import (
    METHODS,
    Decision,
    RoundFacts,
    Status,
    allocate,
    example_problem,
    parse_method,
    register_method,
    verify,
)
from fedjax_diffusion.allocation.allocator import allocate_each
from fedjax_diffusion.allocation.problem import PER_CLIENT
from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.cli.main import main
from fedjax_diffusion.host.plugins import import_plugins
from fedjax_diffusion.planning.error_budget import ErrorBudget
from tests.cli.test_allocate import PROBLEM as FILE
from tests.planning.plans import FLEET, KEY, MEASURED, SIZES, planner_of, statistics_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_method.py"
PROBLEM = example_problem().replace(max_bits=32)


def facts_of(round, num_clients=5):
    return RoundFacts(
        np.int32(round),
        np.ones(num_clients),
        np.array(True),
        np.ones((num_clients, len(BIT_WIDTHS))),
        np.array(1.0),
    )


@pytest.fixture(scope="module", autouse=True)
def equal_split():
    import_plugins(str(EXAMPLE))


def test_equal_split_sends_in_half_of_the_deadline_the_most_that_fits():
    allocation = allocate(PROBLEM, "equal_split", facts_of(5))
    snr = PROBLEM.max_power_watts * PROBLEM.channel_gain / (4e-21 * PROBLEM.bandwidth_hz)
    most = np.floor(3.0 * PROBLEM.bandwidth_hz * np.log2(1 + snr) / 267_000)
    expected = np.where(most >= 32, 32, np.clip(most, 2, 16))
    np.testing.assert_array_equal(allocation.num_bits, expected)
    is_fitting = most > 2  # for the others the upload needs more than its half
    np.testing.assert_allclose(allocation.compute_seconds[is_fitting], 3.0, rtol=1e-12)
    np.testing.assert_allclose(allocation.compute_seconds + allocation.upload_seconds, 6.0)
    assert verify(PROBLEM, allocation, respects_budget=False).is_valid
    best = allocation.dual_bound_joules  # of the same bits, by the best times
    energy = (allocation.compute_joules + allocation.transmit_joules).sum()
    assert best < energy
    np.testing.assert_allclose(allocation.relative_gap, (energy - best) / energy, rtol=1e-9)


def test_method_sees_the_round_in_each_way_to_call_it():
    early, late = facts_of(1), facts_of(2)
    assert (allocate(PROBLEM, "equal_split", early).num_bits <= 4).all()
    assert (allocate(PROBLEM, "equal_split").num_bits <= 4).all()
    for facts in (early, late):
        methods = ("full_precision", "equal_split", "fixed_bits:3")
        both = allocate_each(PROBLEM, methods, facts)
        alone = allocate(PROBLEM, "equal_split", facts)
        for name in ("num_bits", "compute_seconds", "transmit_joules", "status"):
            np.testing.assert_array_equal(getattr(both, name)[1], getattr(alone, name), name)


def test_max_frequency_keeps_the_bits_and_ignores_the_times():
    allocation = allocate(PROBLEM, "equal_split:max_frequency", facts_of(5))
    np.testing.assert_array_equal(
        allocation.num_bits, allocate(PROBLEM, "equal_split", facts_of(5)).num_bits
    )
    np.testing.assert_allclose(allocation.compute_seconds, PROBLEM.compute_cycles / 2e9)
    with pytest.raises(ValueError, match="equal_split has no shared band"):
        parse_method("equal_split:joint_bandwidth")


def test_bits_are_moved_into_limits_and_lowered_until_they_arrive():
    tight = PROBLEM.replace(min_bits=[2, 2, 6, 2, 8], max_bits=[16, 3, 16, 16, 4])
    register_method("all_16", _all_16)
    allocation = allocate(tight, "all_16", facts_of(3))
    largest = allocate(tight, "largest")
    np.testing.assert_array_equal(allocation.num_bits, np.minimum(largest.num_bits, 16))
    assert allocation.status[4] == Status.INFEASIBLE_DEMAND
    register_method("just_16", _just_16, respects_limits=False)
    np.testing.assert_array_equal(
        allocate(tight, "just_16").requested_bits, allocate(tight, "fixed_bits:16").requested_bits
    )


def _all_16(problem, facts):
    return Decision(jnp.full(problem.num_clients, 16))


def _just_16(problem, facts):
    return Decision(jnp.full(problem.num_clients, 16))


def test_planner_gives_the_measured_facts_and_falls_back_before():
    seen = {}

    def watch(problem, facts):
        seen["shapes"] = (facts.bit_width_error.shape, facts.num_examples.shape)
        by_norm = jnp.where(facts.update_squared_norm > 1, 6, 3)
        bits = jnp.where(facts.is_error_known, by_norm, 1) + facts.round % 2
        heavy = facts.num_examples == SIZES.max()
        return Decision(jnp.where(heavy, bits + 2, bits))

    register_method("watch", watch)
    plan = planner_of("watch", budget=ErrorBudget(), baselines=("watch:max_frequency",))
    first = plan(KEY, statistics_of(None, round=0))
    # The fallback: the largest bit width of each, all of which arrive.
    np.testing.assert_array_equal(first.allocation.num_bits, FLEET.max_bits)
    later = plan(KEY, statistics_of(MEASURED, update_squared_norm=2.0, round=3))
    expected = np.where(SIZES.max() == SIZES, 9, 7)
    np.testing.assert_array_equal(later.allocation.num_bits, expected)
    np.testing.assert_array_equal(later.baselines["watch:max_frequency"].num_bits, expected)
    assert seen["shapes"] == ((6, 17), (6,))
    assert METHODS["watch"].fallback == "largest"
    # Without a fallback the method itself decides the first round.
    register_method("watch_from_the_start", watch, fallback=None)
    alone = planner_of("watch_from_the_start", budget=ErrorBudget())
    first = alone(KEY, statistics_of(None, round=0))
    least = np.where(SIZES.max() == SIZES, 3, 1)
    np.testing.assert_array_equal(first.allocation.num_bits, np.fmax(FLEET.min_bits, least))


def _no_decision(problem, facts):
    return jnp.ones(problem.num_clients, int)


def _real_bits(problem, facts):
    return Decision(jnp.full(problem.num_clients, 2.5))


def _one_for_all(problem, facts):
    return Decision(jnp.asarray(4))


def _20_bits(problem, facts):
    return Decision(jnp.full(problem.num_clients, 20))


def _no_time(problem, facts):
    return Decision(jnp.full(problem.num_clients, 4), jnp.zeros(problem.num_clients))


def _not_traced(problem, facts):
    return Decision(jnp.array([int(f) for f in problem.max_bits]))


@pytest.mark.parametrize(
    ("decide", "message"),
    [
        (_no_decision, "must return a Decision"),
        (_real_bits, r"num_bits must be integers \[K\]"),
        (_one_for_all, r"num_bits must be integers \[K\]"),
        (_20_bits, r"num_bits must be 1\.\.16 or 32"),
        (_no_time, "compute_seconds must be above 0"),
        (_not_traced, "cannot be traced by JAX"),
    ],
)
def test_a_method_with_a_wrong_answer_is_refused(decide, message):
    with pytest.raises(ValueError, match=message) as refusal:
        register_method("wrong", decide)
    assert "wrong" not in METHODS
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match="'on_demand' is one of the package's own"):
        register_method("on_demand", decide)


def test_the_commands_allocate_and_verify_know_the_method(tmp_path, capsys):
    problem, answer = tmp_path / "problem.json", tmp_path / "answer.json"
    per_client = {name: getattr(PROBLEM, name).tolist() for name in PER_CLIENT[:-1]}
    problem.write_text(json.dumps(FILE | per_client))
    flags = [f"--problem={problem}", "--method=equal_split", f"--plugins={EXAMPLE}"]
    assert main(["allocate", *flags, f"--output={answer}"]) == 0
    assert main(["verify", *flags, f"--allocation={answer}"]) == 0
    assert "valid: " in capsys.readouterr().out
