"""The verifier: content with every honest answer of every method."""

import ast
import pathlib

import numpy as np
import pytest

from fedjax_diffusion.allocation import METHODS, allocate, refine, verification, verify
from fedjax_diffusion.bits import BIT_WIDTHS
from tests.allocation.tampering import fields_found, scale_entry

NUM_CLIENTS = 5
HEEDS = {
    "on_demand": {},
    "relaxed": {},
    "largest": {"respects_budget": False},
    "demand": {"respects_limits": False, "respects_budget": False},
    "fixed_bits": {"respects_limits": False, "respects_budget": False},
    "full_precision": {"respects_limits": False, "respects_budget": False},
}
CASES = [
    {},
    {"large": True},
    {"time_budget_seconds": 2.0},
    {"error_budget": 1e-12},
    {"error_budget": np.inf},
    {"large": True, "max_bits": [32, 8, 32, 2, 16], "min_bits": [1, 4, 8, 4, 9]},
]
JOINT_CASES = [
    {"large": True},
    {"error_budget": 1e-12},
    {"large": True, "max_bits": [32, 2, 16], "min_bits": [1, 4, 9]},
]
"""Of three clients: the programs of a shared band are the largest, and other files have these."""


@pytest.mark.parametrize(
    ("name", "suffix", "cases"),
    [
        *((name, "", CASES) for name in METHODS),
        *((name, ":max_frequency", CASES) for name in METHODS),
        *((name, ":joint_bandwidth", JOINT_CASES) for name in METHODS if name != "relaxed"),
    ],
)
def test_every_method_is_valid_and_its_bound_is_proven(make_problem, name, suffix, cases):
    method = f"{name}:7{suffix}" if METHODS[name].takes_bits else name + suffix
    for seed, case in enumerate(cases):
        problem = make_problem(3 if cases is JOINT_CASES else NUM_CLIENTS, seed, **case)
        allocation = allocate(problem, method)
        found = verify(problem, allocation, **HEEDS[name])
        assert found.violations == ()
        np.testing.assert_allclose(found.total_joules, allocation.total_joules, rtol=1e-10)
        np.testing.assert_allclose(found.error, allocation.error, rtol=1e-10)
        bound = allocation.dual_bound_joules
        if name == "on_demand" and not suffix and not found.is_bound_proven:
            # Few clients are searched: the bound is then above the dual's.
            assert found.lagrangian_bound_joules < bound <= found.total_joules
        elif suffix != ":max_frequency":
            # The solver's bound, found by another way: neither more nor less.
            np.testing.assert_allclose(found.lagrangian_bound_joules, bound, rtol=1e-9)
            assert found.is_bound_proven


def test_tables_and_an_overhead_per_bit_width_are_valid(make_problem):
    generator = np.random.default_rng(0)
    shape = (NUM_CLIENTS, len(BIT_WIDTHS))
    tables = {
        "bit_width_payload_bits": 267_000
        * np.array(BIT_WIDTHS)
        * generator.uniform(0.5, 1.5, shape),
        "bit_width_error": generator.lognormal(-6.0, 2.0, shape),
    }
    overhead_bits = np.linspace(100.0, 1e5, len(BIT_WIDTHS))
    few = {"bit_width_error": tables["bit_width_error"][:3], "overhead_bits": overhead_bits}
    for num_clients, fields in ((NUM_CLIENTS, tables), (3, few)):  # 3 as runs have in other tests
        problem = make_problem(num_clients, 0, error_budget=1e-2, **fields)
        found = verify(problem, allocate(problem))
        assert found.violations == ()
        assert found.lagrangian_bound_joules <= found.total_joules


def test_a_bound_better_than_the_multiplier_shows_is_not_called_proven(problem, allocation):
    found = verify(problem, allocation)
    assert found.is_bound_proven
    raised = allocation.replace(
        dual_bound_joules=allocation.total_joules, relative_gap=np.zeros(())
    )
    found = verify(problem, raised)
    assert found.is_valid
    assert not found.is_bound_proven
    refined = refine(problem, allocation)
    found = verify(problem, refined)
    assert found.is_valid
    assert not found.is_bound_proven


def test_a_shared_band_has_to_be_allowed(make_problem):
    problem = make_problem(3, 2)
    allocation = allocate(problem)
    shared = allocate(problem, "on_demand:joint_bandwidth")
    assert not fields_found(problem, shared)
    assert not fields_found(problem, shared, shares_bandwidth=True)
    assert "is_band_shared" in fields_found(problem, shared, shares_bandwidth=False)
    assert "is_band_shared" in fields_found(problem, allocation, shares_bandwidth=True)
    hidden = shared.replace(is_band_shared=np.array(False))
    assert {f"bandwidth_hz[{client}]" for client in range(3)} <= fields_found(problem, hidden)


def test_shapes_and_tolerance_are_refused_by_name(problem, allocation):
    with pytest.raises(ValueError, match=r"allocation.num_bits has shape \(4,\): must be \(5,\)"):
        verify(problem, allocation.replace(num_bits=allocation.num_bits[:4]))
    with pytest.raises(ValueError, match=r"allocation.error has shape \(1,\): must be \(\)"):
        verify(problem, allocation.replace(error=np.ones(1)))
    for tolerance in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="tolerance = "):
            verify(problem, allocation, tolerance=tolerance)


def test_tolerance_decides(problem, allocation):
    tampered = scale_entry(allocation, "compute_joules", 0, 1 + 1e-6)
    assert fields_found(problem, tampered, tolerance=1e-7) == {"compute_joules[0]"}
    assert not fields_found(problem, tampered, tolerance=1e-5)


def test_the_report_reads_well(problem, allocation):
    assert str(verify(problem, allocation)).startswith("valid: 0.1856")
    values = np.array(allocation.transmit_power_watts, copy=True)
    values[2] = 0.25
    report = str(verify(problem, allocation.replace(transmit_power_watts=values))).splitlines()
    assert report[0].startswith("invalid, 2 violations: 0.1856")
    assert report[1] == "transmit_power_watts[2] = 0.25: must be at most max_power_watts = 0.2"
    assert report[2].startswith("transmit_power_watts[2] = 0.25: must be 0.0")


def test_many_violations_are_cut_short_in_the_report(problem, allocation):
    other = problem.replace(channel_gain=1.0, effective_capacitance=1e-20, bandwidth_hz=1.0)
    found = verify(other, allocation)
    assert len(found.violations) > 20
    assert len(str(found).splitlines()) == 22
    assert str(found).endswith(f"and {len(found.violations) - 20} more")


def test_nothing_is_shared_with_the_solvers():
    folder = pathlib.Path(verification.__file__).parent
    own = {"checked_allocation", "checks", "violations", "recomputation", "verification"}
    trusted = {"allocation", "bits", "problem", "status"}
    for name in own:
        tree = ast.parse((folder / f"{name}.py").read_text())
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        modules += [
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        ]
        inside = {m.split(".")[-1] for m in modules if m.startswith("fedjax_diffusion")}
        assert inside <= own | trusted
        assert not any(m.split(".")[0] == "jax" for m in modules)
