"""When trials pay, how long they may last, and which mappings are tried."""

import pytest

from fedjax_diffusion.experiment.trial_budget import Candidate, list_candidates, share_of_run

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


@pytest.mark.parametrize(
    ("flops", "platform", "expected"),
    [
        (9e13, "cpu", 0.0),
        (1e15, "cpu", 200.0),
        (8.3e12, "gpu", 0.0),  # the default run
        (9e15, "gpu", 22.5),
        (9e15, "tpu", 22.5),
    ],
)
def test_trials_are_a_small_share_of_a_long_run(flops, platform, expected):
    assert share_of_run(flops, platform) == pytest.approx(expected)
