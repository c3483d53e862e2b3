import re

import numpy as np

from fedjax_diffusion.allocation import Status, allocate


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
        problem = make_problem(3, 1, error_budget=1e-12)
        (line,) = allocate(problem, method).explain(problem)
        assert line.startswith("error: clients 0, 1, 2 cannot meet error_budget = 1e-12")
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
