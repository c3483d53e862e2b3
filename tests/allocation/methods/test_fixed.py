import numpy as np
import pytest

from fedjax_diffusion.allocation import METHODS, Status, allocate, parse_method
from fedjax_diffusion.allocation.problem import uplink_bits
from fedjax_diffusion.planning.baselines import charge_late

NAMES = [f"{name}:8" if method.takes_bits else name for name, method in METHODS.items()]


def full_rate(problem):
    noise = problem.noise_density_watts_per_hz * problem.bandwidth_hz / problem.channel_gain
    return problem.bandwidth_hz * np.log2(1 + problem.max_power_watts / noise)


@pytest.mark.parametrize("suffix", ["", ":max_frequency"])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_spends_the_deadline(make_problem, name, suffix):
    problem = make_problem(5, 2, max_bits=16, time_budget_seconds=60.0)
    a = allocate(problem, name + suffix)
    assert np.all(a.status == Status.OPTIMAL)
    np.testing.assert_allclose(a.compute_seconds + a.upload_seconds, 60.0)
    assert 0 <= a.relative_gap < 1
    assert a.dual_bound_joules <= a.total_joules
    if suffix:
        fastest = problem.compute_cycles / problem.max_frequency_hz
        np.testing.assert_allclose(a.compute_seconds, fastest)
        assert a.total_joules >= allocate(problem, name).total_joules


def test_bits_of_the_baselines(make_problem):
    problem = make_problem(3, 0, min_bits=[2, 4, 6], max_bits=3, time_budget_seconds=60.0)
    np.testing.assert_array_equal(allocate(problem, "demand").num_bits, [2, 4, 6])
    np.testing.assert_array_equal(allocate(problem, "fixed_bits:8").num_bits, [8, 8, 8])
    np.testing.assert_array_equal(allocate(problem, "full_precision").num_bits, [32, 32, 32])


def test_baselines_ignore_the_budget_and_report_their_error(make_problem):
    problem = make_problem(3, 0, error_budget=1e-12, time_budget_seconds=60.0)
    a = allocate(problem, "fixed_bits:8")
    assert np.all(a.status == Status.OPTIMAL)
    np.testing.assert_allclose(a.error, problem.error_weight.sum() / 255.0**2)
    assert allocate(problem, "full_precision").error == 0


def test_every_width_shares_one_compilation(make_problem, monkeypatch):
    for suffix in ("", ":max_frequency"):
        full, fixed = (parse_method(name + suffix) for name in ("full_precision", "fixed_bits:32"))
        assert (full.choose, full.arguments, full.split) == (fixed.choose, (32,), fixed.split)
    method, traced_bits = METHODS["fixed_bits"], []

    def choose(problem, split, num_bits):
        traced_bits.append(num_bits)
        return method.choose(problem, split, num_bits)

    for name in ("fixed_bits", "full_precision"):
        monkeypatch.setitem(METHODS, name, METHODS[name]._replace(choose=choose))
    problem = make_problem(3, 0, time_budget_seconds=60.0)
    for bits in (1, 8, 16, 32):
        assert allocate(problem, f"fixed_bits:{bits}").num_bits.tolist() == [bits] * 3
    assert allocate(problem, "full_precision").num_bits.tolist() == [32] * 3
    assert len(traced_bits) == 1


def test_largest_is_the_last_bit_width_that_arrives(make_problem):
    problem = make_problem(5, 1, large=True, min_bits=1, max_bits=16, time_budget_seconds=30.0)
    a = allocate(problem, "largest")
    assert np.all(a.status == Status.OPTIMAL)
    assert np.any(a.num_bits < 16)

    def seconds_needed(bits):
        compute = problem.compute_cycles / problem.max_frequency_hz
        return compute + (8 * np.ceil(35.7e6 * bits / 8) + 4096) / full_rate(problem)

    assert np.all(seconds_needed(a.num_bits) <= 30.0)
    assert np.all((seconds_needed(a.num_bits + 1) > 30.0) | (a.num_bits == 16))


def test_largest_names_what_is_infeasible(make_problem):
    problem = make_problem(5, 0, min_bits=6, max_bits=[8, 4, 8, 8, 8])
    problem.channel_gain[2] = 1e-25
    expected = [Status.OPTIMAL, Status.INFEASIBLE_DEMAND, Status.INFEASIBLE_TIME, 0, 0]
    assert allocate(problem, "largest").status.tolist() == expected


def test_a_late_baseline_is_charged_at_full_speed(make_problem):
    problem = make_problem(3, 0, error_budget=np.inf)
    problem.channel_gain[1] = 1e-16
    baseline = allocate(problem, "full_precision")
    compute, transmit, is_late = charge_late(problem, baseline)
    assert is_late.tolist() == [False, True, False]
    rate = full_rate(problem)
    payload = 32 * 267_000 + 4096
    np.testing.assert_allclose(transmit[1], (problem.max_power_watts * payload / rate)[1])
    fastest = problem.effective_capacitance * problem.compute_cycles * problem.max_frequency_hz**2
    np.testing.assert_allclose(compute[1], fastest[1])
    for charged, spent in (
        (compute, baseline.compute_joules),
        (transmit, baseline.transmit_joules),
    ):
        np.testing.assert_array_equal(charged[~is_late], spent[~is_late])


def test_charges_are_finite_on_a_dead_channel(make_problem):
    problem = make_problem(3, 0, channel_gain=1e-30)
    compute, transmit, is_late = charge_late(problem, allocate(problem, "full_precision"))
    assert is_late.all()
    assert np.isfinite(compute).all()
    assert np.isfinite(transmit).all()


def test_uplink_bits_count_codes_and_overhead_per_bit_width(make_problem):
    problem = make_problem(3, 0, num_parameters=3, overhead_bits=[64.0] * 16 + [16.0])
    assert uplink_bits(problem, np.array([0, 3, 32])).tolist() == [0, 16 + 64, 96 + 16]


def test_unknown_methods_are_told_what_exists(make_problem):
    """Which texts are unknown is in ``test_method_spec.py``."""
    with pytest.raises(
        ValueError, match=r"method = 'best': must be one of on_demand, relaxed, demand"
    ):
        allocate(make_problem(3, 0), "best")


def test_a_baseline_that_misses_its_error_budget_is_not_free(make_problem):
    problem = make_problem(3, 0, error_budget=1e-30, time_budget_seconds=60.0)
    answer = allocate(problem, "on_demand")
    assert (answer.status == Status.INFEASIBLE_ERROR).all()
    compute_joules, transmit_joules, is_late = charge_late(problem, answer)
    assert is_late.all()
    assert (compute_joules > 0).all()
    assert (transmit_joules > 0).all()
