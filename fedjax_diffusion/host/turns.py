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
      answer: called in this thread.

    Raises:
      BaseException: that of ``answer``, or an interruption of this thread: then every player's
        ``ask`` has raised it too, until all have ended. Or the first one that left a player, when
        all others have played to their ends.
    """
    turns = [_Turn(player, number) for number, player in enumerate(players)]
    try:
        for turn in turns:
            turn.go_on(None)
        while waiting := {turn.number: turn.request for turn in turns if turn.is_alive}:
            for number, given in answer(waiting).items():
                turns[number].go_on(given)
    except BaseException as error:
        for turn in turns:
            turn.end(error)
        raise
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
        self._is_running = False
        self._mine, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=f"player-{number}", daemon=True)

    def go_on(self, answer: Any) -> None:
        """Begins, or answers the player, and waits until it asks again or ends."""
        self._answer, self._is_running = answer, True
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._mine.release()
        self._wait()

    def end(self, error: BaseException) -> None:
        """Raises an error wherever the player asks, until it ends; it may be running."""
        if self._thread.ident is None:
            self.is_alive = False
        if self._is_running:
            self._wait()
        while self.is_alive:
            self.go_on(_Raised(error))

    def _wait(self) -> None:
        self._back.acquire()
        self._is_running = False

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
