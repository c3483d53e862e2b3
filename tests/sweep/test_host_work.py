"""Work of the host in lanes: side by side, beside the rounds, and each error to its own lane."""

import threading
from typing import Any, cast

import pytest

from fedjax_diffusion.federated import RunMapping
from fedjax_diffusion.host.turns import take_turns
from fedjax_diffusion.sweep import lanes

SECONDS = 20.0
"""After which a test has failed."""


@pytest.fixture
def common(monkeypatch):
    """Two lanes that nothing was played in, on two cores."""
    monkeypatch.setattr(lanes, "count_cores", lambda: 2)
    with lanes.Lanes(lanes.LanesConfig(2, 1, RunMapping(), ("on_demand",))) as found:
        yield found


def test_works_of_two_lanes_are_done_at_the_same_time(common):
    both = threading.Barrier(2, timeout=SECONDS)
    answers = {}

    def play(ask, lane):
        answers[lane] = lanes.make_call_host(ask)(lambda: (both.wait(), lane)[1])

    take_turns([lambda ask, n=n: play(ask, n) for n in range(2)], common.answer)
    assert answers == {0: 0, 1: 1}


def test_an_error_reaches_its_own_lane_alone(common):
    seen = {}

    def play(ask, lane):
        call = lanes.make_call_host(ask)
        try:
            seen[lane] = call(lambda: 1 / lane)
        except ZeroDivisionError:
            seen[lane] = "divided by zero"
        seen[lane, "again"] = call(lambda: lane)

    take_turns([lambda ask, n=n: play(ask, n) for n in range(2)], common.answer)
    assert seen == {0: "divided by zero", 1: 1.0, (0, "again"): 0, (1, "again"): 1}


def test_work_does_not_wait_for_a_round(common):
    over, nothing = threading.Event(), [cast(Any, None)] * 3
    ends = []

    def play(ask, lane):
        if lane == 0:
            ends.append(lanes.make_call_host(ask)(lambda: "work"))
            over.set()  # now the round may end
        else:
            ends.append(ask(lanes._Step(*nothing)))

    def play_round(pack, requests):
        assert over.wait(SECONDS)
        return dict.fromkeys(requests, "round")

    common._packs, common._play_round = [None], play_round
    take_turns([lambda ask, n=n: play(ask, n) for n in range(2)], common.answer)
    assert ends == ["work", "round"]
