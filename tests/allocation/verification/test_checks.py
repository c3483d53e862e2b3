"""Every kind of wrong answer is found, and named by its field and its client."""

import dataclasses
import itertools

import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, allocate
from tests.allocation.tampering import fields_found, leave_out, scale_entry
from tests.each import check_each

NUM_CLIENTS = 5
BY_RULE = {"respects_limits": False, "respects_budget": False}


FIELDS_FOUND = {
    "bandwidth_hz": "transmit_power_watts[3]",
    "compute_seconds": "compute_joules[3]",
    "upload_seconds": "transmit_power_watts[3]",
    "transmit_power_watts": "transmit_power_watts[3]",
    "compute_joules": "compute_joules[3]",
    "transmit_joules": "transmit_joules[3]",
    "error": "error",
    "dual_bound_joules": "relative_gap",
    "relative_gap": "relative_gap",
}


def test_a_millionth_off_is_found(problem, allocation):
    def check(name, factor):
        found = fields_found(problem, scale_entry(allocation, name, 3, factor))
        assert FIELDS_FOUND[name] in found
        if name in ("compute_seconds", "upload_seconds") and factor > 1:
            assert "upload_seconds[3]" in found

    check_each(itertools.product(FIELDS_FOUND, (1 - 1e-6, 1 + 1e-6)), check)


def test_a_millionth_of_a_shared_band_is_found(make_problem):
    problem = make_problem(3, 2)
    shared = allocate(problem, "on_demand:joint_bandwidth")
    less, more = (scale_entry(shared, "bandwidth_hz", 2, 1 + step) for step in (-1e-6, 1e-6))
    assert {"transmit_power_watts[2]", "transmit_joules[2]"} <= fields_found(problem, less)
    assert "sum of bandwidth_hz" in fields_found(problem, more)


def test_swapped_bit_widths_are_found(problem, allocation):
    bits = np.array(allocation.num_bits, copy=True)
    first, second = 0, int(np.argmax(bits != bits[0]))
    bits[[first, second]] = bits[[second, first]]
    found = fields_found(problem, allocation.replace(num_bits=bits))
    assert {f"requested_bits[{first}]", f"requested_bits[{second}]"} <= found
    found = fields_found(problem, allocation.replace(num_bits=bits, requested_bits=bits))
    assert {f"transmit_power_watts[{first}]", f"transmit_power_watts[{second}]", "error"} <= found


@pytest.mark.parametrize("bits", [-3, 0, 17, 31, 33])
def test_what_is_no_bit_width_is_found(problem, allocation, bits):
    values = np.array(allocation.num_bits, copy=True)
    values[1] = bits
    tampered = allocation.replace(num_bits=values, requested_bits=values)
    assert {"num_bits[1]", "requested_bits[1]"} <= fields_found(problem, tampered)


OTHER_PROBLEMS = [
    ({"time_budget_seconds": 0.99}, "upload_seconds[{}]"),
    ({"max_frequency_hz": 0.01}, "compute_seconds[{}]"),
    ({"max_power_watts": 1e-4}, "transmit_power_watts[{}]"),
    ({"error_budget": 0.5}, "error"),
    ({"compute_cycles": 1.01}, "compute_joules[{}]"),
    ({"effective_capacitance": 1.01}, "compute_joules[{}]"),
    ({"channel_gain": 1.01}, "transmit_power_watts[{}]"),
    ({"noise_density_watts_per_hz": 1.01}, "transmit_joules[{}]"),
    ({"overhead_bits": 1.01}, "transmit_power_watts[{}]"),
    ({"num_parameters": 2.0}, "transmit_power_watts[{}]"),
    ({"error_weight": 1.01}, "error"),
    ({"bandwidth_hz": 1.01}, "bandwidth_hz[{}]"),
    ({"bandwidth_hz": 0.99}, "sum of bandwidth_hz"),
]


def test_an_answer_to_another_problem_is_found(problem, allocation):
    def check(change, expected):
        ((name, factor),) = change.items()
        other = problem.replace(**{name: getattr(problem, name) * factor})
        found = fields_found(other, allocation)
        assert {expected.format(client) for client in range(NUM_CLIENTS)} <= found

    check_each(OTHER_PROBLEMS, check)


def test_limits_of_the_bits_are_respected_unless_asked_otherwise(problem, allocation):
    narrow = {"min_bits": allocation.num_bits, "max_bits": allocation.num_bits}
    assert not fields_found(problem.replace(**narrow), allocation)
    above = problem.replace(**narrow | {"min_bits": np.minimum(allocation.num_bits + 1, 16)})
    below = problem.replace(**narrow | {"max_bits": np.maximum(allocation.num_bits - 1, 1)})
    for other in (above, below):
        assert {f"num_bits[{client}]" for client in range(NUM_CLIENTS)} <= fields_found(
            other, allocation
        )
        assert not fields_found(other, allocation, respects_limits=False)


def test_energy_below_the_bound_is_found(problem, allocation):
    finer = problem.replace(min_bits=allocation.num_bits + 1, max_bits=16)
    free = allocation.replace(multiplier=np.zeros(()))
    assert "energy" in fields_found(finer, free)
    assert "energy" not in fields_found(problem, free)


def test_the_budget_is_respected_unless_asked_otherwise(problem, allocation):
    strict = problem.replace(error_budget=allocation.error * (1 - 1e-8))
    assert fields_found(strict, allocation) == {"error"}
    assert not fields_found(strict, allocation, respects_budget=False)
    assert not fields_found(problem.replace(error_budget=allocation.error), allocation)


@pytest.mark.parametrize("status", [status for status in Status if status != Status.OPTIMAL])
def test_nobody_is_left_out_without_cause(problem, allocation, status):
    assert "status[3]" in fields_found(problem, leave_out(allocation, 3, status))
    flipped = np.array(allocation.status, copy=True)
    flipped[3] = status
    found = fields_found(problem, allocation.replace(status=flipped))
    assert {"status[3]", "num_bits[3]", "compute_seconds[3]", "transmit_joules[3]"} <= found


def test_all_left_out_without_cause_is_found(problem, allocation, make_problem):
    everybody = np.arange(NUM_CLIENTS)
    over_budget = leave_out(allocation, everybody, Status.INFEASIBLE_ERROR)
    least = np.sum(problem.error_weight / (2.0**problem.max_bits - 1) ** 2)
    zeros = dict.fromkeys(("dual_bound_joules", "relative_gap"), np.zeros(()))
    honest = over_budget.replace(error=least, **zeros)
    assert not fields_found(problem.replace(error_budget=least * (1 - 1e-6)), honest)
    expected = {f"status[{client}]" for client in everybody}
    assert fields_found(problem, honest) == expected
    assert "error" in fields_found(problem, over_budget.replace(**zeros))
    few, clients = make_problem(3, 2), np.arange(3)
    crowded = leave_out(allocate(few, "on_demand:joint_bandwidth"), clients, 4)
    found = fields_found(few, crowded.replace(error=np.zeros(()), **zeros))
    assert {f"status[{client}]" for client in clients} <= found


@pytest.mark.parametrize("kind", ["late", "demanding"])
def test_a_client_left_out_has_to_have_the_right_status(make_problem, kind):
    right = {"late": Status.INFEASIBLE_TIME, "demanding": Status.INFEASIBLE_DEMAND}[kind]
    problem = make_problem(NUM_CLIENTS, 0, min_bits=4, max_bits=16, error_budget=np.inf)
    if kind == "late":
        problem.channel_gain[1] = 1e-25
    else:
        problem.max_bits[1] = 2
    allocation = allocate(problem)
    assert not fields_found(problem, allocation)
    assert allocation.status[1] == right
    for wrong in set(Status) - {right}:
        status = np.array(allocation.status, copy=True)
        status[1] = wrong
        found = fields_found(problem, allocation.replace(status=status))
        if wrong == Status.OPTIMAL:
            assert {"num_bits[1]", "bandwidth_hz[1]", "upload_seconds[1]"} <= found
        elif wrong in (Status.INFEASIBLE_ERROR, Status.INFEASIBLE_BANDWIDTH):
            assert "status[0]" in found  # the others would have to bear it too
        else:
            assert found == {"status[1]"}


def test_bounds_that_cannot_be_are_found(problem, allocation):
    joules = allocation.total_joules
    for bound in (joules * (1 + 1e-6), -1e-6 * joules, np.nan, np.inf):
        assert "dual_bound_joules" in fields_found(
            problem, allocation.replace(dual_bound_joules=bound)
        )
    for name in ("multiplier", "bandwidth_price", "kkt_residual"):
        for value in (-1e-3, np.nan, np.inf):
            tampered = allocation.replace(**{name: np.array(value)})
            assert name in fields_found(problem, tampered)


def test_a_crowded_band_is_believed_only_where_it_is(make_problem):
    keywords = BY_RULE
    problem = make_problem(3, 2)
    for scale in np.logspace(-3, -5, 9):
        narrow = problem.replace(bandwidth_hz=problem.bandwidth_hz * scale)
        crowded = allocate(narrow, "fixed_bits:7:joint_bandwidth")
        if np.all(crowded.status == Status.INFEASIBLE_BANDWIDTH):
            break
    assert np.all(crowded.status == Status.INFEASIBLE_BANDWIDTH)
    assert not fields_found(narrow, crowded, **keywords)
    everybody = {f"status[{client}]" for client in range(3)}
    assert fields_found(problem, crowded, **keywords) == everybody
    late = crowded.replace(status=np.full(3, Status.INFEASIBLE_TIME))
    assert fields_found(narrow, late, **keywords) == everybody
    own = crowded.replace(is_band_shared=np.array(False))
    assert fields_found(narrow, own, **keywords) == everybody


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_any_number_gets_an_answer(problem, allocation, value):
    for field in dataclasses.fields(allocation):
        if field.name == "is_band_shared":
            continue
        old = np.asarray(getattr(allocation, field.name))
        found = fields_found(problem, allocation.replace(**{field.name: np.full(old.shape, value)}))
        assert any(name.startswith(field.name) for name in found)
