import re

import numpy as np
import pytest

from fedjax_diffusion.allocation import Status, allocate
from fedjax_diffusion.allocation.method_spec import parse_method

JOINT = "on_demand:joint_bandwidth"
NUMBER = r"([-+.\de]+)"
KINDS = {
    "time": Status.INFEASIBLE_TIME,
    "error": Status.INFEASIBLE_ERROR,
    "demand": Status.INFEASIBLE_DEMAND,
    "bandwidth": Status.INFEASIBLE_BANDWIDTH,
}


def last_number(line):
    return float(re.findall(r"[-+.\de]+$", line)[0])


def test_nothing_to_explain(make_problem):
    problem = make_problem(3, 0, error_budget=np.inf)
    assert allocate(problem).explain(problem) == []


def test_time_names_the_clients_and_the_smallest_deadline_works(make_problem):
    for seed in range(8):
        problem = make_problem(3, seed, error_budget=np.inf, time_budget_seconds=0.5)
        allocation = allocate(problem)
        (line,) = allocation.explain(problem)
        late = np.flatnonzero(allocation.status == Status.INFEASIBLE_TIME)
        assert line.startswith("time: client")
        assert ", ".join(map(str, late)) + " cannot deliver" in line
        smallest = last_number(line)
        assert allocate(problem.replace(time_budget_seconds=smallest)).explain(problem) == []
        shorter = problem.replace(time_budget_seconds=smallest * (1 - 1e-5))
        assert np.any(allocate(shorter).status == Status.INFEASIBLE_TIME)


def test_a_deadline_is_named_that_leaves_time_for_the_error_budget_too(make_problem):
    for seed in range(8):
        problem = make_problem(5, seed, time_budget_seconds=3.0, min_bits=1)
        (line,) = allocate(problem).explain(problem)
        assert "deliver is" in line
        assert "; the smallest that also meets error_budget" in line
        smallest = last_number(line)
        assert (allocate(problem.replace(time_budget_seconds=smallest)).status == 0).all()
        shorter = problem.replace(time_budget_seconds=smallest * (1 - 1e-5))
        assert (allocate(shorter).status == Status.INFEASIBLE_ERROR).all()


def test_a_budget_that_no_deadline_meets_is_named_with_the_deadline(make_problem):
    problem = make_problem(3, 2, time_budget_seconds=0.5, error_budget=1e-12)
    (line, *_) = allocate(problem).explain(problem)
    assert "; error_budget = 1e-12 is missed then at any deadline: it must be at least " in line
    longer = problem.replace(time_budget_seconds=1e4, error_budget=last_number(line))
    assert (allocate(longer).status == Status.OPTIMAL).all()


def test_error_names_the_smallest_budget_and_it_works(make_problem):
    for method in ("on_demand", "relaxed"):
        problem = make_problem(5, 1, error_budget=1e-12)
        (line,) = allocate(problem, method).explain(problem)
        assert line.startswith("error: clients 0, 1, 2, 3, 4 cannot meet error_budget = 1e-12")
        smallest = last_number(line)
        assert np.all(allocate(problem.replace(error_budget=smallest), method).status == 0)
        tighter = problem.replace(error_budget=smallest * (1 - 1e-5))
        assert np.all(allocate(tighter, method).status == Status.INFEASIBLE_ERROR)


def test_demand_names_both_limits(make_problem):
    problem = make_problem(3, 0, min_bits=[4, 12, 4], max_bits=8, error_budget=np.inf)
    assert allocate(problem).explain(problem) == [
        "demand: client 1: min_bits 12 is above max_bits 8; lower min_bits or raise max_bits by 4"
    ]


def test_a_baseline_is_explained_at_the_bits_it_asked_for(make_problem):
    problem = make_problem(3, 0, large=True, time_budget_seconds=30.0)
    (line,) = allocate(problem, "full_precision").explain(problem)
    assert "cannot deliver 32 bits within time_budget_seconds = 30" in line
    longer = problem.replace(time_budget_seconds=last_number(line))
    assert allocate(longer, "full_precision").explain(longer) == []


def test_no_budget_is_named_for_a_method_that_has_none(make_problem):
    problem = make_problem(5, 0, time_budget_seconds=3.0)
    (line,) = allocate(problem, "fixed_bits:4").explain(problem, respects_budget=False)
    assert "error_budget" not in line


def test_many_clients_are_cut_short(make_problem):
    problem = make_problem(100, 0, channel_gain=1e-25)
    (line,) = allocate(problem).explain(problem)
    assert "clients 0, 1, 2, 3, 4, 5, 6, 7 and 92 more cannot deliver" in line


def test_every_field_may_lie_at_an_end_of_its_range(make_problem):
    problem = make_problem(3, 0, error_budget=np.inf)
    ends = dict.fromkeys(("compute_cycles", "effective_capacitance", "max_frequency_hz"), 1e-60)
    ends |= dict.fromkeys(("bandwidth_hz", "max_power_watts", "time_budget_seconds"), 1e-60)
    ends |= {"noise_density_watts_per_hz": 1e-60, "channel_gain": 1e-300}
    for name, least in ends.items():
        for end in (least, 1e60):
            extreme = problem.replace(**{name: end})
            for method in ("on_demand", "full_precision"):
                allocation = allocate(extreme, method)
                joules = allocation.compute_joules + allocation.transmit_joules
                assert np.isfinite(joules).all(), (name, end)
                is_late = (allocation.status != 0).any()
                assert len(allocation.explain(extreme)) == is_late, (name, end)
    huge = problem.replace(num_parameters=2**53)
    assert "time_budget_seconds" in allocate(huge).explain(huge)[0]


def list_remedies(problem, line):
    """Yields the problem with each remedy of a line, and whether all clients then deliver."""

    def find(text):
        found = re.search(text, line)
        return None if found is None else [float(number) for number in found.groups()]

    if found := find(f" deliver(?: alone over the whole band)? is {NUMBER}"):
        yield problem.replace(time_budget_seconds=found[0]), False
    if found := find(f"also meets error_budget = {NUMBER} is {NUMBER}"):
        yield problem.replace(time_budget_seconds=found[1]), True
    if found := find(f"at any deadline: it must be at least {NUMBER}"):
        yield problem.replace(time_budget_seconds=1e5, error_budget=found[0]), True
    if found := find(f"error_budget that works is {NUMBER}"):
        yield problem.replace(error_budget=found[0]), False
    if found := find(f"deliver is {NUMBER}, or the smallest time_budget_seconds {NUMBER}"):
        yield problem.replace(bandwidth_hz=found[0] / problem.num_clients * (1 + 1e-12)), False
        yield problem.replace(time_budget_seconds=found[1]), False
    if "lower min_bits or raise max_bits" in line:
        yield problem.replace(min_bits=np.minimum(problem.min_bits, problem.max_bits)), False
        yield problem.replace(max_bits=np.maximum(problem.min_bits, problem.max_bits)), False


@pytest.mark.parametrize(
    ("method", "causes"),
    [
        ("on_demand", {"time", "error", "demand"}),
        ("relaxed", {"time", "error", "demand"}),
        ("fixed_bits:6", {"time"}),
        (JOINT, {"time", "error", "demand", "bandwidth"}),
    ],
)
def test_each_remedy_that_is_named_lets_the_named_clients_deliver(make_problem, method, causes):
    respects_budget = parse_method(method).method.respects_budget
    said = set()
    num_clients, decades = (3, (-3, -1)) if method == JOINT else (5, (-2, 0))
    for seed in range(30):
        generator = np.random.default_rng(seed)
        min_bits = generator.choice([1, 4, 10], num_clients, p=[0.6, 0.3, 0.1])
        usual = make_problem(num_clients, seed)
        problem = usual.replace(
            time_budget_seconds=generator.uniform(1.0, 12.0),
            min_bits=min_bits,
            error_budget=usual.error_budget * 10 ** generator.uniform(-3, 3),
            bandwidth_hz=usual.bandwidth_hz * 10 ** generator.uniform(*decades),
        )
        is_asked = problem.min_bits <= problem.max_bits
        allocation = allocate(problem, method)
        for line in allocation.explain(problem, respects_budget):
            cause = line.partition(":")[0]
            named = allocation.status == KINDS[cause]
            remedies = list(list_remedies(problem, line))
            assert named.any()
            assert remedies
            said.add(cause)
            for remedied, is_for_all in remedies:
                status = np.asarray(allocate(remedied, method).status)
                delivers = status == Status.OPTIMAL if is_for_all else status != KINDS[cause]
                assert delivers[is_asked if is_for_all else named].all(), (seed, line)
            if method in ("on_demand", "relaxed") and cause == "time" and len(remedies) == 1:
                assert (status[is_asked] == Status.OPTIMAL).all(), (seed, line)
    assert said == causes
