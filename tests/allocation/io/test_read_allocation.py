"""A saved answer: read back bit for bit, verified again, refused where it is damaged."""

import dataclasses
import json

import numpy as np
import pytest

from fedjax_diffusion.allocation import (
    AllocationProblem,
    allocate,
    example_problem,
    read_allocation,
    verify,
    write_allocation,
)
from tests.each import check_each

PROBLEM = AllocationProblem(
    compute_cycles=[2e9, 4e9, 1e9],
    effective_capacitance=1e-28,
    max_frequency_hz=[2e9, 2e9, 1e6],  # the last one cannot be in time
    channel_gain=[1e-11, 1e-12, 1e-12],
    bandwidth_hz=1e6,
    max_power_watts=0.2,
    noise_density_watts_per_hz=4e-21,
    num_parameters=270_000,
    overhead_bits=7000,
    min_bits=2,
    max_bits=16,
    error_weight=[1.0, 2.0, 1.0],
    error_budget=2e-3,
    time_budget_seconds=6.0,
)
METHODS = ("on_demand", "relaxed", "full_precision", "on_demand:joint_bandwidth")


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_comes_back_bit_for_bit(method, tmp_path):
    problem = example_problem() if method == "relaxed" else PROBLEM  # 5 clients, as elsewhere
    allocation = allocate(problem, method)
    write_allocation(tmp_path / "allocation.json", allocation)
    again = read_allocation(tmp_path / "allocation.json")
    for field in dataclasses.fields(allocation):
        ours, theirs = (np.asarray(getattr(a, field.name)) for a in (again, allocation))
        assert ours.dtype == theirs.dtype, field.name
        np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
    if method == "on_demand":
        assert verify(PROBLEM, again).is_valid


DAMAGED = [
    (lambda c: c.pop("error"), "must be an object with the fields num_bits"),
    (lambda c: c.update(more=1), "must be an object with the fields num_bits"),
    (lambda c: c.update(status=5), "status: must be a list"),
    (lambda c: c["status"].__setitem__(1, "fine"), r'status\[1\] = "fine": must be one of'),
    (lambda c: c["num_bits"].pop(), "num_bits: must be a list of 3 numbers"),
    (lambda c: c.update(num_bits=5), "num_bits: must be a list of 3 numbers"),
    (lambda c: c["status"].__setitem__(1, ["optimal"]), r"status\[1\] = "),
    (lambda c: c.update(error=10**400), r"error\[0\] = 1000.*: must be a number or null"),
    (lambda c: c.update(error=float("nan")), r"error\[0\] = NaN: must be a number or null"),
    (lambda c: c["num_bits"].__setitem__(0, True), r"num_bits\[0\] = true: must be a number"),
    (lambda c: c.update(is_band_shared=5), "is_band_shared = 5: must be true or false"),
    (lambda c: c.update(error=[1.0]), "error: must be a number"),
    (lambda c: c["num_bits"].__setitem__(2, "x"), r'num_bits\[2\] = "x": must be a number'),
]


def test_a_damaged_answer_is_refused_in_one_line(tmp_path):
    def check(change, message):
        path = tmp_path / "allocation.json"
        write_allocation(path, allocate(PROBLEM))
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message) as caught:
            read_allocation(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    check_each(DAMAGED, check)


@pytest.mark.parametrize("text", ["", "[", "3", "null"])
def test_what_is_no_answer_is_refused(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"is not JSON|must be an object"):
        read_allocation(tmp_path / "a.json")
    with pytest.raises(ValueError, match="cannot be read"):
        read_allocation(tmp_path / "none.json")
