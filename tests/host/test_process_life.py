"""A process is dead only where that is certain: number, start, boot, PID namespace, host."""

import os
import subprocess

import pytest

from fedjax_diffusion.host.process_life import describe_process, is_surely_dead


def test_a_process_that_ended_and_was_not_waited_for_is_dead():
    child = subprocess.Popen(["sleep", "9"])
    with open(f"/proc/{child.pid}/stat") as file:
        start = int(file.read().rpartition(")")[2].split()[19])
    about = describe_process() | {"pid": child.pid, "process_start": start}
    assert not is_surely_dead(about)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and keeps its number
    assert is_surely_dead(about)
    child.wait()
    assert is_surely_dead(about)


@pytest.mark.parametrize(
    ("changed", "dead"),
    [
        ({}, False),
        ({"process_start": 1}, True),  # the number was given to another process
        ({"process_start": 1, "boot_id": "earlier"}, False),
        ({"process_start": 1, "pid_namespace": "pid:[1]"}, False),
        ({"process_start": 1, "host": "elsewhere"}, False),
        ({"process_start": None}, False),
        ({"pid": "7"}, False),
        ({"pid": -1}, False),
    ],
)
def test_a_process_is_known_by_number_and_start_on_one_machine(changed, dead):
    assert is_surely_dead(describe_process() | changed) == dead
