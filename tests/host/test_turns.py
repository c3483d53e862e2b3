"""Functions that take turns: one at a time, in their order, answered together."""

import pytest

from fedjax_diffusion.host import turns
from fedjax_diffusion.host.turns import take_turns


def test_all_requests_are_answered_in_one_call_and_nobody_runs_at_the_same_time():
    seen, calls, running = [], [], []

    def make(number, asked):
        def play(ask):
            for request in range(asked):
                assert not running
                running.append(number)
                seen.append((number, request))
                running.clear()
                assert ask(request) == (number, request)

        return play

    def answer(requests):
        calls.append(dict(requests))
        return {number: (number, request) for number, request in requests.items()}

    take_turns([make(0, 3), make(1, 1), make(2, 2)], answer)
    assert seen == [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2)]
    assert calls == [{0: 0, 1: 0, 2: 0}, {0: 1, 2: 1}, {0: 2}]


def test_those_that_are_not_answered_wait_on():
    order = []

    def make(number, kind):
        def play(ask):
            order.append(ask(kind))
            order.append((number, ask("late")))

        return play

    def answer(requests):
        early = {n: r for n, r in requests.items() if r == "early"}
        return early or requests

    take_turns([make(0, "late"), make(1, "early")], answer)
    assert order == ["early", "late", (1, "late"), (0, "late")]


def test_an_error_of_one_stops_no_other_and_is_raised_at_the_end():
    ended = []

    def bad(ask):
        ask(0)
        raise KeyboardInterrupt("stop")

    def good(ask):
        for _ in range(3):
            ask(0)
        ended.append("good")

    with pytest.raises(KeyboardInterrupt, match="stop"):
        take_turns([bad, good], lambda requests: requests)
    assert ended == ["good"]


def test_an_error_of_the_answer_is_raised_where_it_was_asked_for():
    caught = []

    def play(ask):
        with pytest.raises(ValueError, match="no answer"):
            ask(0)
        caught.append(1)

    def answer(requests):
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        take_turns([play, play], answer)
    assert caught == [1, 1]


def test_an_interruption_of_the_main_thread_ends_all_players(monkeypatch):
    """As Ctrl-C does while a player has its turn: it is waited for, then all raise at their ask."""
    ended = []

    def play(ask):
        try:
            while True:
                ask(0)
        finally:
            ended.append(1)

    wait, waits = turns._Turn._wait, []

    def interrupt(turn):
        waits.append(turn.number)
        if len(waits) == 4:
            raise KeyboardInterrupt
        wait(turn)

    monkeypatch.setattr(turns._Turn, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        take_turns([play, play, play], lambda requests: requests)
    assert ended == [1, 1, 1]
