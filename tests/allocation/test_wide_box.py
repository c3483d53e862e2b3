"""Properties over a box of inputs ten orders of magnitude wide, found by hypothesis.

Every input is drawn by its decimal logarithm, a hundred thousand times below and above a usual
value. One number of clients, so that each method compiles once. The long form, run by name, draws
forty times as many.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedjax_diffusion.allocation import AllocationProblem, Status, allocate, verify
from fedjax_diffusion.bits import BIT_WIDTHS

K = 5
USUAL = {
    "compute_cycles": 2e9,
    "effective_capacitance": 1e-28,
    "max_frequency_hz": 2e9,
    "channel_gain": 1e-11,
    "bandwidth_hz": 1e6,
    "max_power_watts": 0.2,
    "error_weight": 1.0,
}
BOX = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
DECADES = st.floats(-5, 5, width=32)
BIT_WIDTH = st.sampled_from(BIT_WIDTHS)
SHARE = st.floats(0.0, 1.0)
LONG = {}
"""The long form of each test."""


def in_the_box(*strategies, num_examples=12):
    def decorate(test):
        short, LONG[test.__name__] = (
            settings(BOX, max_examples=number)(given(*strategies)(test))
            for number in (num_examples, 40 * num_examples)
        )
        return short

    return decorate


@st.composite
def problems(draw, decades=DECADES, has_tables=None, is_anchored=None):
    """Returns a problem of five clients; with tables per bit width, or without.

    An anchored one has a deadline that all can meet and a budget that is met by some bits, so that
    everybody participates; the others are mostly infeasible in part, each in its way.
    """
    fields = {
        name: usual * 10.0 ** np.array(draw(st.lists(decades, min_size=K, max_size=K)))
        for name, usual in USUAL.items()
    }
    is_anchored = draw(st.booleans()) if is_anchored is None else is_anchored
    pairs = draw(st.lists(st.tuples(BIT_WIDTH, BIT_WIDTH), min_size=K, max_size=K))
    limits = [sorted(pair) if is_anchored else pair for pair in pairs]
    problem = AllocationProblem(
        **fields,
        noise_density_watts_per_hz=4e-21,
        num_parameters=draw(st.integers(1, 10**8)),
        overhead_bits=512.0,
        min_bits=[low for low, _ in limits],
        max_bits=[high for _, high in limits],
        error_budget=10.0 ** draw(decades),
        time_budget_seconds=10 * 10.0 ** draw(decades),
    )
    if draw(st.booleans()) if has_tables is None else has_tables:
        steps = np.array(draw(st.lists(st.floats(0.1, 2.0), min_size=17, max_size=17)))
        error = problem.error_weight[:, None] * np.append(np.cumprod(0.5**steps)[:-1], 0.0)
        payload = problem.num_parameters * np.array(BIT_WIDTHS) + 64.0 + np.arange(K)[:, None]
        problem = problem.replace(bit_width_error=error, bit_width_payload_bits=payload)
    return anchor(problem, draw(st.floats(1.0, 100.0)), draw(SHARE)) if is_anchored else problem


def anchor(problem, time_factor, share):
    """Returns the problem with a deadline for the most bits of all, and a budget within reach."""
    low, high = (np.minimum(b, 17).astype(int) - 1 for b in (problem.min_bits, problem.max_bits))
    error_curves = np.array([1 / (2.0**b - 1) ** 2 if b < 32 else 0.0 for b in BIT_WIDTHS])
    error = problem.bit_width_error
    error = np.outer(problem.error_weight, error_curves) if error is None else error
    least, most = (error[np.arange(K), index].sum() for index in (high, low))
    gain = problem.channel_gain / (problem.noise_density_watts_per_hz * problem.bandwidth_hz)
    rate = problem.bandwidth_hz * np.log1p(problem.max_power_watts * gain) / np.log(2)
    payload = problem.num_parameters * problem.max_bits + 4096
    needed = problem.compute_cycles / problem.max_frequency_hz + payload / rate
    return problem.replace(
        time_budget_seconds=needed.max() * time_factor * (1 + 1e-6),
        error_budget=(least + share * (most - least)) * (1 + 1e-6),
    )


def numbers_of(allocation):
    return {
        field.name: np.asarray(getattr(allocation, field.name), float)
        for field in dataclasses.fields(allocation)
    }


def check(problem, allocation):
    """Fails unless ``verify`` accepts it, but for what doubles leave of ``t = T - tau``.

    Where the upload is short, their difference has few digits left. That shows in the power and the
    energy of sending alone: relative condition ``y e^y / (e^y - 1)``, at most 50 here, where y is
    the load of the channel at full power or less.
    """
    violations = verify(problem, allocation).violations
    in_sending = ("transmit_power_watts[", "transmit_joules[")
    assert all(line.startswith(in_sending) for line in violations), violations
    seconds = allocation.upload_seconds[allocation.status == Status.OPTIMAL]
    shortest = seconds.min(initial=float(problem.time_budget_seconds))
    eps = np.finfo(float).eps * problem.time_budget_seconds / shortest
    if violations:
        loose = verify(problem, allocation, tolerance=float(min(1e-9 + 50 * eps, 0.5)))
        assert loose.is_valid, loose.violations


def is_complete(allocation):
    return bool((allocation.status == Status.OPTIMAL).all())


@in_the_box(problems())
def test_whole_bits_are_finite_and_hold_every_limit(problem):
    allocation = allocate(problem, "on_demand")
    for name, values in numbers_of(allocation).items():
        assert not np.isnan(values).any(), name
    is_participating = allocation.status == Status.OPTIMAL
    assert ((allocation.num_bits > 0) == is_participating).all()
    check(problem, allocation)


# The verifier searches the bits of every client in NumPy.
@in_the_box(problems(has_tables=False), num_examples=5)
def test_real_bits_are_finite_hold_every_limit_and_cost_no_more(problem):
    relaxed, whole = allocate(problem, "relaxed"), allocate(problem, "on_demand")
    for name, values in numbers_of(relaxed).items():
        assert not np.isnan(values).any(), name
    check(problem, relaxed)
    if is_complete(whole) and is_complete(relaxed):
        assert relaxed.dual_bound_joules <= whole.total_joules * (1 + 1e-9)


@in_the_box(problems(), st.permutations(range(K)))
def test_clients_may_stand_in_any_order(problem, order):
    """The energy is the same; with ties other clients may get the bits, at the same energy."""
    order = np.array(order)
    per_client = {name: getattr(problem, name)[order] for name in (*USUAL, "min_bits", "max_bits")}
    for name in ("bit_width_error", "bit_width_payload_bits"):
        table = getattr(problem, name)
        per_client[name] = None if table is None else table[order]
    ours, theirs = allocate(problem), allocate(problem.replace(**per_client))
    np.testing.assert_array_equal(ours.status[order], theirs.status)
    slack = ours.relative_gap + theirs.relative_gap + 1e-9
    np.testing.assert_allclose(ours.total_joules, theirs.total_joules, rtol=float(slack))
    np.testing.assert_allclose(ours.dual_bound_joules, theirs.dual_bound_joules, rtol=1e-6)


@in_the_box(problems(has_tables=False), st.integers(-8, 8))
def test_the_unit_of_energy_changes_nothing_but_the_joules(problem, exponent):
    """A power of two scales every energy exactly: joules, watts, and the noise that they beat."""
    unit = 2.0**exponent
    scaled = problem.replace(
        effective_capacitance=problem.effective_capacitance * unit,
        max_power_watts=problem.max_power_watts * unit,
        channel_gain=problem.channel_gain / unit,
    )
    ours, theirs = allocate(problem), allocate(scaled)
    np.testing.assert_array_equal(ours.num_bits, theirs.num_bits)
    np.testing.assert_allclose(ours.total_joules * unit, theirs.total_joules, rtol=1e-9)


@in_the_box(problems(has_tables=False, is_anchored=True), st.floats(1.0, 100.0))
def test_more_time_never_costs_more(problem, factor):
    later = problem.replace(time_budget_seconds=problem.time_budget_seconds * factor)
    ours, theirs = allocate(problem, "relaxed"), allocate(later, "relaxed")
    assert is_complete(ours)
    assert is_complete(theirs)
    assert theirs.total_joules <= ours.total_joules * (1 + 1e-7)


@in_the_box(problems(has_tables=False, is_anchored=True), st.floats(1.0, 100.0))
def test_a_larger_error_budget_never_raises_the_energy_of_real_bits(problem, factor):
    larger = problem.replace(error_budget=problem.error_budget * factor)
    ours, theirs = allocate(problem, "relaxed"), allocate(larger, "relaxed")
    assert is_complete(ours)
    assert theirs.total_joules <= ours.total_joules * (1 + 1e-7)
    ours, theirs = allocate(problem), allocate(larger)
    assert is_complete(ours)
    assert theirs.dual_bound_joules <= ours.dual_bound_joules * (1 + 1e-6)


@in_the_box(problems())
def test_without_a_budget_everybody_sends_what_it_demands(problem):
    allocation = allocate(problem.replace(error_budget=np.inf))
    is_participating = allocation.status == Status.OPTIMAL
    np.testing.assert_array_equal(
        allocation.num_bits, np.where(is_participating, problem.min_bits, 0).astype(int)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_many_inputs(name):
    LONG[name]()
