"""Conditions of rounds: drawn ahead, as if each round were drawn alone."""

import numpy as np
import pytest

from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.planning import participation
from fedjax_diffusion.planning.participation import draw_cohort, make_draw_conditions
from tests.planning.plans import FADING, FLEET, KEY, K


@pytest.mark.parametrize("cohort_size", [3, None])
def test_a_round_is_drawn_as_if_alone(monkeypatch, cohort_size):
    monkeypatch.setattr(participation, "_ROUNDS_AHEAD", 3)
    draw = make_draw_conditions(FLEET, FADING, K, cohort_size)
    for key, round in ((KEY, 0), (KEY, 2), (seed_to_key(1), 2), (KEY, 7), (KEY, 1)):
        cohort, channel = draw(key, round)
        np.testing.assert_array_equal(cohort, draw_cohort(key, round, K, cohort_size or K))
        np.testing.assert_array_equal(channel.gain, FADING(key, round, FLEET).gain)


def test_many_rounds_are_drawn_in_one_call():
    calls = []

    def count(run_key, rounds, devices):
        calls.append(len(rounds))
        return FADING(run_key, rounds, devices)

    draw = make_draw_conditions(FLEET, count, K)
    for round in range(5):
        draw(KEY, round)
    assert calls == [64]
