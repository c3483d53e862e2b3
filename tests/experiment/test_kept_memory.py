"""Memory of averages that keep all updates: counted for `auto`, refused where it does not fit."""

import jax
import numpy as np
import pytest

from fedjax_diffusion.experiment import kept_memory
from fedjax_diffusion.experiment.build import build
from fedjax_diffusion.experiment.guesses import ClientLoad, find_guess, guess_mapping
from fedjax_diffusion.experiment.kept_memory import count_average_bytes
from tests.tiny import pixel_config

PARAMS = {"w": np.zeros((5, 50), np.float32), "b": np.zeros(3, np.float32)}
UPDATE_BYTES = 3 * 128 * 4


def test_the_updates_of_a_cohort_are_counted_twice_and_those_of_a_mean_not():
    shapes = jax.eval_shape(lambda: PARAMS)
    assert count_average_bytes("mean", shapes, 10) == 0
    for average in ("trimmed_mean", "median"):
        assert count_average_bytes(average, shapes, 10) == 2 * 10 * UPDATE_BYTES


def test_clients_at_once_get_the_memory_that_the_average_leaves():
    guess = find_guess("gpu", 1e9)
    for average_bytes, expected in ((0, 64), (1.6e9, 32), (3.3e9, 4), (9e9, None)):
        load = ClientLoad(1e9, 5e7, average_bytes)
        assert guess_mapping(guess, 512, load, 7e9)[1] == expected


@pytest.mark.parametrize("average", ["trimmed_mean", "median"])
def test_an_average_that_does_not_fit_is_refused_with_its_size(average, monkeypatch):
    monkeypatch.setattr(kept_memory, "count_memory_bytes", lambda: 2**12)
    build(pixel_config(num_rounds=1))
    message = (
        rf"^federated\.average = '{average}' keeps the updates of a cohort twice, .* GiB for "
        r"3 clients on \d devices: more than half of the memory, .* GiB; .*$"
    )
    with pytest.raises(ValueError, match=message):
        build(pixel_config(num_rounds=1, federated__average=average))
