"""Bits by round: the list, the line, the weights, and what the planner does with them."""

import dataclasses
import re

import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, verify
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.planning.allocator_config import AllocatorConfig
from fedjax_diffusion.planning.bit_schedule import BitSchedule, weigh_steps
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.sweep.identity import hash_config
from tests.planning.plans import (
    FLEET,
    KEY,
    MEASURED,
    SIX_BITS,
    SIZES,
    WORKLOAD,
    planner_of,
    statistics_of,
)
from tests.tiny import tiny_config

EVEN = np.ones(4)


def first_of(schedule, rounds):
    return [int(schedule.find_bits(round, EVEN)[0]) for round in rounds]


def test_a_list_goes_round_by_round_and_its_last_entry_holds():
    assert first_of(BitSchedule((2, 4, 32)), range(5)) == [2, 4, 32, 32, 32]


def test_a_line_joins_first_and_last():
    assert first_of(BitSchedule((2, 8), linear_rounds=4), range(6)) == [2, 4, 6, 8, 8, 8]
    assert first_of(BitSchedule((8, 6), linear_rounds=5), range(6)) == [8, 8, 7, 7, 6, 6]


def test_steps_by_weight_are_those_of_dadaquant():
    """Theorem 1: the error of q = 8 for all, with fewer steps."""
    weights = np.array([0.5, 0.3, 0.2])
    steps = weigh_steps(weights, 8)
    np.testing.assert_allclose(steps, [9.7425, 6.9306, 5.2890], atol=5e-5)
    np.testing.assert_allclose(np.sum((weights / steps) ** 2), np.sum((weights / 8) ** 2))
    assert steps.sum() < 3 * 8


def test_equal_weights_change_no_bits():
    for bits in range(1, 17):
        assert BitSchedule((bits,), by_weight=True).find_bits(0, EVEN).tolist() == [bits] * 4


def test_clients_that_are_left_out_have_no_weight():
    schedule = BitSchedule((6,), by_weight=True)
    weighted = schedule.find_bits(0, np.array([500, 30, 0, 2]))
    alone = schedule.find_bits(0, np.array([500, 30, 2]))
    assert weighted[[0, 1, 3]].tolist() == alone.tolist()
    assert weighted[0] > weighted[1] > weighted[3] >= 1
    assert schedule.find_bits(0, np.zeros(2)).tolist() == [6, 6]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bits": (4, 17)}, "allocator.schedule.bits: each entry must be 1..16 or 32, got 17"),
        ({"bits": (4, 32), "by_weight": True}, "allocator.schedule.bits must be 1..16 each with"),
        ({"bits": (4.5,)}, "allocator.schedule.bits: each entry must be 1..16 or 32, got 4.5"),
        (
            {"bits": (2, 8), "linear_rounds": 1},
            "linear_rounds must be a whole number in 2..2147483647 or None, got 1",
        ),
        ({"bits": (2,), "linear_rounds": 9}, "must be (first, last) with linear_rounds, got (2,)"),
    ],
)
def test_bad_values_are_named(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BitSchedule(**fields)


def test_the_method_needs_its_bits_and_is_no_baseline():
    with pytest.raises(
        ValueError, match=r"method 'schedule' needs allocator\.schedule\.bits, such"
    ):
        AllocatorConfig("schedule", 20.0, SIX_BITS, "drop", ())
    with pytest.raises(ValueError, match="method = 'schedule': must be one of on_demand"):
        AllocatorConfig("demand", 20.0, SIX_BITS, "drop", ("schedule",))


@pytest.mark.parametrize("method", ["schedule", "schedule:max_frequency"])
def test_the_planner_sends_the_bits_of_the_round(method):
    baselines = ("full_precision", "demand")
    plan = planner_of(method, schedule=BitSchedule((3, 5)), baselines=baselines)
    for round, bits in ((0, 3), (1, 5), (9, 5)):
        planned = plan(KEY, statistics_of(MEASURED, round=round))
        assert (planned.allocation.status == Status.OPTIMAL).all()
        assert set(planned.allocation.num_bits) == {bits}
        found = verify(
            planned.problem, planned.allocation, respects_limits=False, respects_budget=False
        )
        assert found.violations == ()
    seconds = WORKLOAD.compute_cycles / FLEET.max_frequency_hz
    is_fast = np.isclose(planned.allocation.compute_seconds, seconds, rtol=1e-6)
    assert is_fast.all() == (method == "schedule:max_frequency")
    # The verifier's bound is the least energy of these bits. Else the split is the best one.
    is_best = np.isclose(found.total_joules, found.lagrangian_bound_joules, rtol=1e-9, atol=0)
    assert is_best == (method == "schedule")
    demanded = planned.baselines["demand"].num_bits
    assert set(demanded) == {2, 4, 6}, "the baseline still sends what devices demand"


@pytest.mark.parametrize("is_lossy", [False, True])
def test_bits_that_the_quantizer_does_not_have_are_refused(is_lossy):
    quantization = QuantizationConfig(name="qsgd" if is_lossy else "none")
    with pytest.raises(ValueError, match=r"schedule\.bits = \(1, 4\): sends fewer bits than"):
        planner_of("schedule", schedule=BitSchedule((1, 4)), quantization=quantization)


def test_the_planner_weighs_by_examples():
    schedule = BitSchedule((6,), by_weight=True)
    planned = planner_of("schedule", schedule=schedule)(KEY, statistics_of(MEASURED))
    assert planned.allocation.num_bits.tolist() == schedule.find_bits(0, SIZES).tolist()
    assert planned.allocation.num_bits[0] < planned.allocation.num_bits[-1]


def test_a_config_holds_a_schedule():
    plain = to_run_config(tiny_config())
    config = to_run_config(
        tiny_config(allocator__method="schedule", allocator__schedule__bits="2,4")
    )
    assert config.allocator.schedule == BitSchedule((2, 4))
    assert to_run_config(config.to_dict()) == config
    unused = dataclasses.replace(plain.allocator, schedule=BitSchedule((2, 4)))
    assert hash_config(dataclasses.replace(plain, allocator=unused)) != hash_config(plain)
