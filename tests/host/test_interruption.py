"""Signals ask a process to stop; a second one ends it, whatever it does."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fedjax_diffusion.host.interruption import SIGNALS, StoppedBySignal, catch_signals

FOLDER = Path(__file__).parents[2] / "fedjax_diffusion" / "host"
START = f"""
import hashlib, sys
sys.path.insert(0, {str(FOLDER)!r})  # without JAX: it starts in a tenth of a second
from interruption import catch_signals
def work():
    hashlib.pbkdf2_hmac("sha256", b"", b"", 30_000_000)  # like a compilation, it sees no signal
with catch_signals() as interruption:
    print("ready", flush=True)
"""


def start(script):
    process = subprocess.Popen(
        [sys.executable, "-c", START + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "exit_code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_second_signal_ends_work_that_sees_no_signal(number, exit_code):
    with start("    work()\n") as process:
        process.send_signal(getattr(signal, number))
        assert process.stderr.readline() == "\n"
        assert process.stderr.readline().startswith(f"{number}: stopping as soon as")
        assert process.poll() is None
        process.send_signal(getattr(signal, number))
        assert process.wait(timeout=20) == exit_code


@pytest.mark.parametrize(
    ("number", "exit_code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 143)]
)
def test_a_signal_is_recorded_and_the_earlier_handlers_come_back(number, exit_code):
    number = getattr(signal, number)
    earlier = [signal.getsignal(number) for number in SIGNALS]
    with catch_signals() as interruption:
        interruption.check("nothing yet")
        os.kill(os.getpid(), number)
        while not interruption.exit_code:
            pass
        with pytest.raises(StoppedBySignal, match="all is saved") as stop:
            interruption.check("all is saved")
        assert stop.value.exit_code == exit_code
    assert [signal.getsignal(number) for number in SIGNALS] == earlier
    assert signal.set_wakeup_fd(-1) == -1


def test_a_notice_never_ends_work_at_once_and_is_no_first_signal():
    with start("    work()\n") as process:
        for name in ("SIGUSR1", "SIGTERM", "SIGUSR1"):
            process.send_signal(getattr(signal, name))
            assert process.stderr.readline() == "\n"
            line = process.stderr.readline()
            assert line.startswith(f"{name}: stopping as soon as all is saved")
            assert line.endswith("again: at once\n") == (name == "SIGTERM")
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143


def test_nothing_is_installed_off_the_main_thread():
    earlier = [signal.getsignal(number) for number in SIGNALS]
    seen = []

    def look():
        with catch_signals() as interruption:
            seen.append([signal.getsignal(number) for number in SIGNALS])
            interruption.check("never")

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [earlier]
