"""Functions that take turns: each runs in a thread of its own, one at a time, until it asks.

So ordinary code can be played many times side by side, and what all copies ask for is answered in
one call: coroutines, for code that does not know of them.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Ask: TypeAlias = Callable[[Any], Any]
"""``ask(request) -> answer``: lets the others play until the request is answered."""
Answer: TypeAlias = Callable[[Mapping[int, Any]], Mapping[int, Any]]
"""``answer(requests by player) -> answers by player``, at least one; the others wait on."""


def take_turns(players: Sequence[Callable[[Ask], object]], answer: Answer) -> None:
    """Plays functions in turns until all have ended.

    No two of them run at the same time, and they go on in their order. ``answer`` is called when
    every function that has not ended waits for an answer.

    Args:
      players: each is called once, in a thread of its own.
      answer: called in this thread. If it raises, every waiting player's ``ask`` raises that.

    Raises:
      BaseException: the first one that left a player, when all players have ended.
    """
    turns = [_Turn(player, number) for number, player in enumerate(players)]
    for turn in turns:
        turn.start()
    while waiting := {turn.number: turn.request for turn in turns if turn.is_alive}:
        try:
            answers = answer(waiting)
        except BaseException as error:
            answers = dict.fromkeys(waiting, _Raised(error))
        for number, given in answers.items():
            turns[number].go_on(given)
    for turn in turns:
        if turn.error is not None:
            raise turn.error


class _Raised:
    """An answer that is an error."""

    def __init__(self, error: BaseException):
        self.error = error


class _Turn:
    """A player's thread.

    Attributes:
      number: its place among the players.
      is_alive: whether it has not ended; it then waits for an answer.
      request: what it has asked for.
      error: what left it; None while nothing has.
    """

    def __init__(self, player: Callable[[Ask], object], number: int):
        self.number, self._player = number, player
        self.is_alive, self.request, self.error = True, None, None
        self._answer: Any = None
        self._mine, self._back = threading.Semaphore(0), threading.Semaphore(0)

    def start(self) -> None:
        """Runs the player until it asks or ends."""
        name = f"player-{self.number}"
        threading.Thread(target=self._run, name=name, daemon=True).start()
        self._back.acquire()

    def go_on(self, answer: Any) -> None:
        """Answers the player, and runs it until it asks again or ends."""
        self._answer = answer
        self._mine.release()
        self._back.acquire()

    def _run(self) -> None:
        try:
            self._player(self._ask)
        except BaseException as error:
            self.error = error
        finally:
            self.is_alive = False
            self._back.release()

    def _ask(self, request: Any) -> Any:
        self.request = request
        self._back.release()
        self._mine.acquire()
        if isinstance(self._answer, _Raised):
            raise self._answer.error
        return self._answer
