"""Standard streams that take no text, or not every character: a command goes on quietly."""

import io
import os
import subprocess
import sys

import pytest

from fedjax_diffusion.cli.streams import ForgivingStream, forgive_streams
from tests.sweep.stubs import make_sweep

STATUS = f"{sys.executable} -m fedjax_diffusion sweep --workdir='é' --status"
WAYS = {
    "its reader has left": "({status}; echo $? >&3) | true",
    "stdout is closed": "{status} >&-; echo $? >&3",
    "stdout and stderr are closed": "{status} >&- 2>&-; echo $? >&3",
    "all three are closed": "{status} <&- >&- 2>&-; echo $? >&3",
    "its disk is full": "{status} > /dev/full; echo $? >&3",
}


def start(command, folder, **environment):
    """Runs a shell's command whose descriptor 3 is a file; returns its stdout, stderr and file."""
    found = subprocess.run(
        f"({command}) 3> codes",
        shell=True,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )
    return found.stdout, found.stderr, (folder / "codes").read_text()


@pytest.mark.parametrize("way", WAYS)
def test_a_command_goes_on_quietly_without_a_stdout(tmp_path, way):
    make_sweep(tmp_path / "é")
    out, error, exit_code = start(WAYS[way].format(status=STATUS), tmp_path)
    assert (out, error, exit_code) == (b"", b"", "0\n")


def test_characters_that_a_stream_cannot_encode_are_written_as_escapes(tmp_path):
    command = STATUS.replace("é", "é/nowhere")
    _, error, _ = start(command, tmp_path, PYTHONIOENCODING="ascii")
    assert rb"\xe9/nowhere is not the folder of a sweep" in error
    assert error.count(b"\n") == 1


def test_a_stream_that_fails_once_drops_all_later_text():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        stream = ForgivingStream(pipe)
        for _ in range(3):
            assert print("x" * 10_000, file=stream, flush=True) is None
        assert stream.fileno() == writing
    closed = io.StringIO()
    closed.close()
    ForgivingStream(closed).write("dropped")


def test_the_streams_of_a_caller_come_back(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with forgive_streams():
        print("nowhere")
    assert sys.stdout is None
