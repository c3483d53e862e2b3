"""What long work shows: that it goes on, and for how long."""

import io
import re
import time

from fedjax_diffusion.cli.console import RunDisplay, show_seconds

COUNTED = re.compile(r"compiling( the round)? \.\.\. \d+ s")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_a_file_gets_a_line_at_once_and_one_now_and_then():
    stream = io.StringIO()
    with show_seconds("compiling", stream, period_seconds=0.05):
        assert stream.getvalue() == "compiling ...\n"
        time.sleep(0.3)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "compiling ..."
    assert lines[1:], "it was said again while it lasted"
    assert all(map(COUNTED.fullmatch, lines[1:]))


def test_a_terminal_gets_one_line_that_counts_and_stays():
    stream = Terminal()
    with show_seconds("compiling", stream, period_seconds=0.05):
        time.sleep(0.2)
    *counts, end = stream.getvalue().split("\r")
    assert counts
    assert all(map(COUNTED.fullmatch, counts))
    assert COUNTED.fullmatch(end.removesuffix("\n"))


def test_nothing_is_shown_any_more_when_the_work_fails():
    stream = io.StringIO()
    try:
        with show_seconds("compiling", stream, period_seconds=0.01):
            raise RuntimeError("work")
    except RuntimeError:
        shown = stream.getvalue()
    time.sleep(0.05)
    assert stream.getvalue() == shown


def test_a_run_shows_what_lasts_before_its_bar_and_on_it():
    stream = Terminal()
    display = RunDisplay(2, stream)
    with display.watch("compiling the round"):
        pass
    assert COUNTED.fullmatch(stream.getvalue().removesuffix("\n"))
    record = {"round": 0, "loss": 0.5, "num_bits": [8], "diverged": [], "step_refused": False}
    display.advance(record | {"total_joules": 1.0, "uplink_bytes": 1e6, "wall_seconds": 1.0})
    with display.watch("drawing images"):
        pass
    assert "drawing images: " in stream.getvalue()
    with display:
        pass
    assert "1/2" in stream.getvalue()
