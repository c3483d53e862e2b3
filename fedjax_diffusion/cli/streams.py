"""Standard streams that end no command: a reader that left, a closed or full output, ASCII."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

_STANDARD = (0, 1, 2)
"""Descriptors of the standard streams."""


class ForgivingStream:
    """A text stream; after a failure to write, all text is dropped. In all else it is the other."""

    def __init__(self, stream: TextIO | io.TextIOBase):
        """Keeps the stream that is written to."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text if the stream still takes it, and returns its length."""
        with self._forgive():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes the stream if it still takes text."""
        with self._forgive():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _forgive(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # ValueError: it is closed
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())  # also for the flush at Python's end
                os.close(nowhere)


class _Nowhere(io.TextIOBase):
    """A stream in the place of a closed one, for which Python has None."""

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def forgive_streams() -> Iterator[None]:
    """Lets a command go on quietly, whatever becomes of its stdout and stderr.

    Characters that a stream cannot encode are written as escapes.
    """
    for descriptor in _STANDARD:  # a file of the command must not get the number of a closed one
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    earlier = sys.stdout, sys.stderr
    forgiving = [ForgivingStream(stream or _Nowhere()) for stream in earlier]  # None: closed
    for stream in earlier:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = forgiving  # type: ignore[assignment]
    try:
        yield
    finally:
        for stream in forgiving:
            stream.flush()
        sys.stdout, sys.stderr = earlier
