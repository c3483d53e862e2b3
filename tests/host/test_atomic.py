"""A new file has one writer, whoever is slower, on any file system."""

import errno
import os
import subprocess
import sys

from fedjax_diffusion.host.atomic import write_new

NUM_FILES = 50
RACER = f"""
import pathlib, sys
from fedjax_diffusion.host.atomic import write_new

folder, mark = pathlib.Path(sys.argv[1]), sys.argv[2].encode()
print(flush=True)
sys.stdin.readline()  # both are ready
for number in range({NUM_FILES}):
    path = folder / str(number)
    write_new(path, mark * 100_000)
    content = path.read_bytes()
    assert content == content[:1] * 100_000
    print(content[:1].decode())
"""


def test_of_two_processes_that_write_one_file_both_read_that_of_the_first(tmp_path):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, tmp_path, mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for mark in "ab"
    ]
    for racer in racers:
        racer.stdout.readline()
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    read = [racer.communicate()[0].split() for racer in racers]
    assert read[0] == read[1]
    assert len(read[0]) == NUM_FILES
    assert len(list(tmp_path.iterdir())) == NUM_FILES  # nothing is left over


def test_a_new_file_needs_no_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOTSUP, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    write_new(tmp_path / "file", b"first")
    write_new(tmp_path / "file", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"first"
