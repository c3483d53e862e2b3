import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.allocation import AllocationProblem, allocate, make_allocator
from fedjax_diffusion.bits import BIT_WIDTHS
from tests.each import check_each

PLAIN = {
    "compute_cycles": [2e9, 4e9],
    "effective_capacitance": 1e-28,
    "max_frequency_hz": 2e9,
    "channel_gain": (1e-11, 2e-11),
    "bandwidth_hz": 1_000_000,
    "max_power_watts": 0.2,
    "noise_density_watts_per_hz": 4e-21,
    "num_parameters": 267_000,
    "overhead_bits": 512,
    "min_bits": 2,
    "max_bits": [16, 32],
    "error_weight": np.array([1.0, 2.0], np.float32),
    "error_budget": 1e-3,
    "time_budget_seconds": 6,
}


def test_plain_numbers_and_lists_become_float64_vectors():
    problem = AllocationProblem(**PLAIN)
    assert problem.num_clients == 2
    for name in PLAIN:
        value = getattr(problem, name)
        scalar = name in ("noise_density_watts_per_hz", "num_parameters", "overhead_bits")
        scalar = scalar or name in ("error_budget", "time_budget_seconds")
        assert value.dtype == np.float64
        assert value.shape == (() if scalar else (2,))


def test_all_clients_are_present_unless_told_otherwise():
    problem = AllocationProblem(**PLAIN)
    assert problem.is_present.dtype == bool
    assert problem.is_present.tolist() == [True, True]
    assert problem.replace(is_present=[1, False]).is_present.tolist() == [True, False]
    assert AllocationProblem(**PLAIN | {"is_present": False}).is_present.tolist() == [False, False]


def test_no_error_budget_is_infinite():
    assert AllocationProblem(**PLAIN | {"error_budget": None}).error_budget == np.inf


BAD_FIELDS = [
    ({"channel_gain": [1e-11, -1.0]}, r"channel_gain\[1\] = -1: must be > 0 and finite"),
    ({"compute_cycles": [1e9, np.nan]}, r"compute_cycles\[1\] = nan: must be > 0"),
    ({"min_bits": 0}, r"min_bits\[0\] = 0: must be 1..16 or 32"),
    ({"max_bits": [16, 17]}, r"max_bits\[1\] = 17: must be 1..16 or 32"),
    ({"min_bits": 2.5}, r"min_bits\[0\] = 2.5: must be 1..16 or 32"),
    ({"num_parameters": 0}, r"num_parameters = 0: must be a whole number >= 1"),
    ({"num_parameters": 1e308}, r"num_parameters = 1e\+308: must be a .* <= 2\^53"),
    ({"max_power_watts": 1e-300}, r"max_power_watts\[0\] = 1e-300: .* in \[1e-60, 1e\+60\]"),
    ({"time_budget_seconds": 1e308}, r"time_budget_seconds = 1e\+308: must be > 0"),
    ({"channel_gain": 1e-310}, r"channel_gain\[0\] = 1e-310: .* in \[1e-300, 1e\+60\]"),
    ({"num_parameters": 267_000.5}, r"num_parameters = 267000.5: must be a whole number"),
    ({"error_budget": -1e-3}, r"error_budget = -0.001: must be >= 0, or infinity"),
    ({"error_budget": np.nan}, r"error_budget = nan: must be >= 0"),
    ({"error_weight": [1.0, np.inf]}, r"error_weight\[1\] = inf: must be >= 0 and finite"),
    ({"time_budget_seconds": 0}, r"time_budget_seconds = 0: must be > 0"),
    ({"time_budget_seconds": [1, 2]}, r"time_budget_seconds has shape \(2,\): must be"),
    ({"time_budget_seconds": None}, r"time_budget_seconds = None: must be a number"),
    ({"bandwidth_hz": "wide"}, r"bandwidth_hz = 'wide': must be a number"),
    (
        {"bandwidth_hz": [1e6, 1e6, 1e6]},
        "bandwidth_hz has 3 clients, compute_cycles has 2: the numbers must be equal",
    ),
    ({"bandwidth_hz": [[1e6, 1e6]]}, r"bandwidth_hz has shape \(1, 2\)"),
    ({"is_present": [1, 2]}, r"is_present\[1\] = 2: must be 0 or 1, for false or true"),
    ({"is_present": None}, "is_present = None: must be a number"),
    ({"bandwidth_hz": []}, r"bandwidth_hz has shape \(0,\)"),
    (
        {"overhead_bits": [1, 2, 3]},
        r"overhead_bits has shape \(3,\): must be one number or 17 numbers",
    ),
    ({"bit_width_error": np.zeros((2, 3))}, r"bit_width_error has shape \(2, 3\): must be"),
    (
        {"bit_width_payload_bits": np.zeros((2, len(BIT_WIDTHS)))},
        r"bit_width_payload_bits\[0, 0\] = 0: must be > 0",
    ),
]


def test_bad_fields_are_named():
    def check(fields, message):
        with pytest.raises(ValueError, match=message):
            AllocationProblem(**PLAIN | fields)

    check_each(BAD_FIELDS, check)


def test_replace_validates():
    problem = AllocationProblem(**PLAIN)
    assert problem.replace(time_budget_seconds=7).time_budget_seconds == 7
    with pytest.raises(ValueError, match="time_budget_seconds = -7"):
        problem.replace(time_budget_seconds=-7)


def test_is_a_pytree_with_named_leaves():
    problem = AllocationProblem(**PLAIN)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(problem)]
    assert sorted(paths) == sorted(f".{name}" for name in (*PLAIN, "is_present"))
    doubled = jax.tree.map(lambda leaf: 2 * leaf, problem)
    np.testing.assert_array_equal(doubled.compute_cycles, 2 * problem.compute_cycles)


def test_tables_equal_to_the_formulas_change_nothing(make_problem):
    problem = make_problem(5, 1, max_bits=32)
    bits = np.array(BIT_WIDTHS, np.float64)
    payload = 8 * np.ceil(float(problem.num_parameters) * bits / 8) + problem.overhead_bits
    variance = np.where(bits == 32, 0.0, 1.0 / (2**bits - 1) ** 2)
    tabled = problem.replace(
        overhead_bits=0.0,
        error_weight=0.0,
        bit_width_payload_bits=np.broadcast_to(payload, (5, len(BIT_WIDTHS))),
        bit_width_error=problem.error_weight[:, None] * variance,
    )
    expected, actual = allocate(problem), allocate(tabled)
    np.testing.assert_array_equal(actual.num_bits, expected.num_bits)
    np.testing.assert_allclose(actual.total_joules, expected.total_joules, rtol=1e-12)
    np.testing.assert_allclose(actual.error, expected.error, rtol=1e-12)


def test_a_problem_is_traced_not_validated(make_problem, float64):
    def energy(gain):
        problem = make_problem(3, 0)
        leaves, structure = jax.tree.flatten(problem)
        leaves[3] = gain
        allocation = make_allocator("demand")(jax.tree.unflatten(structure, leaves))
        return jnp.sum(allocation.transmit_joules)

    gain = make_problem(3, 0).channel_gain
    assert float(jax.jit(energy)(gain * 10)) < float(jax.jit(energy)(gain))
