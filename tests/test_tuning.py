"""Choosing a client map: what fits is tried, what fails is left out, the fastest is taken."""

import time

import jax
import jax.numpy as jnp
import pytest

from fedjax_diffusion import load_run, run, tuning
from fedjax_diffusion.tuning import (
    Candidate,
    choose,
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
    def make_trial(candidate):
        def trial():
            if candidate == VMAP:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
            time.sleep(0.0 if candidate.chunk_size else 0.02)
            return jnp.zeros(())

        return trial

    candidates = [MAP, Candidate("chunked", 4), VMAP]
    seconds = time_in_turn(candidates, make_trial)
    assert set(seconds) == {MAP, Candidate("chunked", 4)}
    assert choose(candidates, seconds) == Candidate("chunked", 4)


def test_other_failures_of_a_trial_are_not_hidden():
    def trial():
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        time_in_turn([MAP], lambda candidate: trial)


def test_a_run_records_what_was_chosen_and_resumes_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "_LONG_RUN_FLOPS", 0.0)
    chosen = Candidate("chunked", 4)
    tried = []

    def choose_chunks(candidates, seconds):
        tried.append(seconds)
        return chosen

    monkeypatch.setattr("fedjax_diffusion.experiment.choose", choose_chunks)
    options = {"partition__num_clients": 10, "compute__cpu_devices": "2", "num_rounds": 2}
    run(tiny_config(**options), tmp_path / "run")
    (seconds,) = tried
    assert set(seconds) == {MAP, chosen, VMAP}
    assert min(seconds.values()) > 0
    experiment, _ = load_run(tmp_path / "run")
    assert (experiment.compute.client_map, experiment.compute.chunk_size) == chosen
    assert set(experiment.compute.conv.values()) <= {"conv", "matmul", "rows"}, "a measured table"
    assert len(tried) == 1, "a folder's choice is not tried again"
