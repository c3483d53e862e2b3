"""A child process with a time limit, and the time of every line that it prints."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.session.record import ROOT

GRACE_SECONDS = 5.0
"""Seconds between SIGTERM and SIGKILL; a child that ends its own children needs more."""
OnLine = Callable[[float, str], object]
"""A function of the seconds since the start and the line."""


class Ended(NamedTuple):
    """A child that has ended.

    Attributes:
      code: its exit code; None: it was ended at its limit.
      seconds: its duration.
      lines: (seconds since the start, text) of all printed lines, of both streams.
    """

    code: int | None
    seconds: float
    lines: list[tuple[float, str]]

    @property
    def reason(self) -> str:
        """Reason of its failure, in one line; "" if it did not fail."""
        if self.code is None:
            return f"ended at its limit of {self.seconds:.0f} s"
        texts = [text for _, text in self.lines if text.strip()]
        last = texts[-1].strip()[:250] if texts else "no output"
        return f"exit code {self.code}: {last}" if self.code else ""


def find_json(ended: Ended) -> dict[str, Any]:
    """Returns the last line of JSON that a child has printed.

    Raises:
      RuntimeError: it failed.
    """
    if ended.code != 0:
        raise RuntimeError(ended.reason)
    return json.loads(next(text for _, text in reversed(ended.lines) if text.startswith("{")))


def end_on_request() -> None:
    """Lets SIGTERM end this process like an error, with its children."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def run_child(
    command: Sequence[str],
    limit: float,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    on_line: OnLine | None = None,
    grace: float = GRACE_SECONDS,
) -> Ended:
    """Runs a command to its end or to its limit; then ends it and its own children.

    Args:
      command: program and arguments.
      limit: seconds.
      env: the whole environment; None: this process's.
      cwd: working folder.
      on_line: called for each line, from another thread.
      grace: seconds between SIGTERM and SIGKILL.
    """
    start, lines = time.perf_counter(), []

    def read() -> None:
        assert process.stdout is not None
        with contextlib.suppress(ValueError):  # closed, while a child of the process still runs
            for line in process.stdout:
                lines.append((time.perf_counter() - start, line.rstrip("\n")))
                if on_line is not None:
                    on_line(*lines[-1])

    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    reader = threading.Thread(target=read, daemon=True)
    code = None
    try:
        reader.start()
        code = process.wait(timeout=max(limit, 0.0))
    except subprocess.TimeoutExpired:
        pass
    finally:
        seconds = time.perf_counter() - start
        _end_group(process, grace)
        reader.join(timeout=GRACE_SECONDS)
        if process.stdout is not None and not reader.is_alive():
            process.stdout.close()
    return Ended(code, seconds, lines)


def _end_group(process: subprocess.Popen, grace: float) -> None:
    """Ends the process, if it still runs, and all others in its group."""
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
