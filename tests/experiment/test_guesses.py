"""The table of first guesses: every platform has a line, and what is chosen fits into memory."""

import pytest

from fedjax_diffusion.diffusion import CONV_LOWERINGS
from fedjax_diffusion.experiment.compute import ComputeConfig, resolve
from fedjax_diffusion.experiment.guesses import (
    GUESSES,
    HEAVY,
    ClientLoad,
    find_guess,
    guess_mapping,
)
from fedjax_diffusion.federated import CLIENT_MAPS

SMALL, LARGE = ClientLoad(1.3e9, 5e7), ClientLoad(2.3e12, 6e9)
H100 = 6e10


def test_every_line_names_what_exists_and_where_it_was_measured():
    for guess in GUESSES:
        assert guess.client_map in CLIENT_MAPS
        assert {guess.conv, guess.conv_at_once} <= CONV_LOWERINGS.keys()
        assert "2026" in guess.measured or "not measured" in guess.measured


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu", "another"])
def test_a_client_that_nobody_could_count_is_trained_one_at_a_time(platform):
    guess = find_guess(platform, HEAVY.step_flops)
    assert guess_mapping(guess, 64, HEAVY, H100) == ("map", None)


@pytest.mark.parametrize(
    ("load", "clients", "memory_bytes", "expected"),
    [
        (SMALL, 8, H100, ("vmap", None)),
        (SMALL, 512, H100, ("vmap", None)),
        (SMALL, 512, 1e10, ("chunked", 64)),
        (SMALL, 512, 5e7, ("map", None)),
        (SMALL, 1, H100, ("map", None)),
        (LARGE, 10, H100, ("map", None)),
    ],
)
def test_small_models_are_trained_at_once_as_far_as_they_fit(load, clients, memory_bytes, expected):
    guess = find_guess("gpu", load.step_flops)
    assert guess_mapping(guess, clients, load, memory_bytes) == expected


@pytest.mark.parametrize(
    ("asked", "load", "expected"),
    [
        ({}, SMALL, ("vmap", "matmul")),
        ({}, LARGE, ("map", "stock")),
        ({"client_map": "map"}, SMALL, ("map", "stock")),
        ({"client_map": "vmap"}, LARGE, ("vmap", "stock")),
        ({"conv": "stock"}, SMALL, ("vmap", "stock")),
    ],
)
def test_a_gpu_gets_what_its_table_says_where_nothing_was_asked_for(
    asked, load, expected, monkeypatch
):
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    way = resolve(ComputeConfig(**asked), 64, count_load=lambda: load)
    assert (way.client_map, way.conv) == expected
    assert resolve(way, 64) == way, "a resumed run computes the same way"


def test_a_cpu_decides_without_counting():
    def count():
        raise AssertionError("counted")

    assert resolve(ComputeConfig(), 8, count_load=count).client_map == "map"
