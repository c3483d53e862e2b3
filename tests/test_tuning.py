"""Choosing a client map: what fits is tried, what fails is left out, the fastest is taken."""

import math
import time

import jax
import jax.numpy as jnp
import pytest

from fedjax_diffusion import load_run, run, tuning
from fedjax_diffusion.tuning import (
    Candidate,
    fastest,
    is_worth_measuring,
    list_candidates,
    time_in_turn,
)
from tests.tiny import tiny_config

MAP, VMAP = Candidate("map"), Candidate("vmap")


@pytest.mark.parametrize(
    ("clients", "memory_bytes", "expected"),
    [
        (1, 1e9, [MAP]),
        (4, 1e9, [MAP, VMAP]),
        (5, 1e9, [MAP, Candidate("chunked", 4), VMAP]),
        (5, 8e6, [MAP, Candidate("chunked", 4)]),
        (100, 40e6, [MAP, Candidate("chunked", 4), Candidate("chunked", 16)]),
        (100, 1e6, [MAP]),
        (100, 0, [MAP]),
    ],
)
def test_candidates_fit_into_half_of_the_memory(clients, memory_bytes, expected):
    assert list_candidates(clients, 1e6, memory_bytes) == expected


def test_only_long_runs_look_on_a_cpu():
    assert not is_worth_measuring(1e13, "cpu")
    assert is_worth_measuring(1e15, "cpu")
    assert is_worth_measuring(1.0, "gpu")


def test_the_fastest_of_those_that_run_is_chosen():
    def make_trial(seconds):
        def trial():
            if seconds is None:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
            time.sleep(seconds)
            return jnp.zeros(())

        return lambda: trial

    seconds = time_in_turn([make_trial(None), make_trial(0.05), make_trial(0.0)])
    assert seconds[0] == math.inf
    assert seconds[1] >= 0.05
    assert fastest(seconds) == 2


def test_other_failures_of_a_trial_are_not_hidden():
    def trial():
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        time_in_turn([lambda: trial])


def test_a_run_records_what_was_chosen_and_resumes_with_it(tmp_path, monkeypatch):
    """Mappings first, then the measured table against the lowering of the one that was chosen."""
    monkeypatch.setattr(tuning, "_LONG_RUN_FLOPS", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tried = []

    def choose_last(seconds):
        tried.append(seconds)
        return len(seconds) - 1

    monkeypatch.setattr("fedjax_diffusion.trials.fastest", choose_last)
    options = {"partition__num_clients": 4, "compute__cpu_devices": "2", "num_rounds": 1}
    run(tiny_config(**options, allocator__opponents=()), tmp_path / "run")
    assert [len(seconds) for seconds in tried] == [2, 2]
    assert min(map(min, tried)) > 0
    experiment, _ = load_run(tmp_path / "run")
    assert experiment.compute.client_map == "vmap"
    table = experiment.compute.conv
    assert {key.split()[0] for key in table} == {"conv", "kernel_bar"}
    assert set(table.values()) <= {"conv", "matmul", "rows"}
    assert len(tried) == 2, "a folder's choice is not tried again"
