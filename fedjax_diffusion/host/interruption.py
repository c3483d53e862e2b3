"""Requests to stop, as signals: the work in progress is finished, a second request ends at once.

SIGUSR1 is a notice, as clusters send it before a time limit: it never ends the work at once.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # the last one is sent by clusters; not on every system
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_NOTICE = getattr(signal, "SIGUSR1", None)
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class StoppedBySignal(KeyboardInterrupt):
    """Work that a signal stopped in good order: what was done is saved, the next call goes on."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class Interruption:
    """A request to stop, which may come at any time.

    Attributes:
      exit_code: of a process that stops now; 0 while nobody asks for it.
      on_second: called before a second request ends the process.
    """

    def __init__(self):
        self.exit_code = 0
        self.on_second: Callable[[], object] = lambda: None
        self._is_requested = False

    def check(self, message: str) -> None:
        """Raises StoppedBySignal if somebody asked for it; ``message`` says what is saved."""
        if self.exit_code:
            raise StoppedBySignal(message, self.exit_code)

    def request(self, number: int) -> None:
        """Records a signal; the second one that is no notice ends the process."""
        exit_code = _to_exit_code(number)
        is_notice = number == _NOTICE
        if self._is_requested and not is_notice:
            self.on_second()
            os._exit(exit_code)
        self._is_requested |= not is_notice
        self.exit_code = self.exit_code or exit_code
        advice = "; again: at once" * (not is_notice)
        name = signal.Signals(number).name
        print(f"\n{name}: stopping as soon as all is saved{advice}", file=sys.stderr)


NEVER = Interruption()
"""For work that no signal stops in good order."""


@contextlib.contextmanager
def end_at_signals(advice: str) -> Iterator[None]:
    """Lets a signal end the process at once, with a line on stderr; ``catch_signals`` within saves.

    It raises no KeyboardInterrupt: that is lost in JAX's callbacks, and becomes an ImportError
    while JAX's library is imported.

    Args:
      advice: the end of the line: how to go on.
    """

    def end(number: int) -> None:
        word = "interrupted" if number == signal.SIGINT else "terminated"
        with contextlib.suppress(OSError):  # stderr, even in the middle of another line
            os.write(2, f"\n{word}; {advice}\n".encode())
        os._exit(_to_exit_code(number))

    with _pass_signals_to(end):
        yield


@contextlib.contextmanager
def catch_signals() -> Iterator[Interruption]:
    """Yields the interruption by SIGINT, SIGTERM and SIGUSR1; the first of them ends nothing."""
    interruption = Interruption()
    with _pass_signals_to(interruption.request):
        yield interruption


@contextlib.contextmanager
def _pass_signals_to(receive: Callable[[int], object]) -> Iterator[None]:
    """Calls a function with the number of each signal.

    A thread reads the signals: it acts even while a program is compiled. Off the main thread, as in
    some notebooks, nothing is installed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    earlier_descriptor = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    earlier = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    arguments = (reading, receive)
    reader = threading.Thread(target=_read_signals, args=arguments, name="signals", daemon=True)
    reader.start()
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler or signal.SIG_DFL)
        signal.set_wakeup_fd(earlier_descriptor)
        os.write(writing, b"\0")
        reader.join()
        os.close(reading)
        os.close(writing)


def _read_signals(descriptor: int, receive: Callable[[int], object]) -> None:
    while number := os.read(descriptor, 1)[0]:
        if number in SIGNALS:
            receive(number)


def _to_exit_code(number: int) -> int:
    return EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED
