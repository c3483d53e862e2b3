"""A long run needs no more memory and no more time per round than a short one."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="the memory is read in /proc")
ROUNDS, FIRST = 10_000, 500
MAX_GROWTH = 1.02
"""Of the memory from round ``FIRST`` to the last one."""
SCRIPT = f"""
import sys, time
from fedjax_diffusion import run
from tests.tiny import tiny_config

def show(record):
    if (record["round"] + 1) % {FIRST} == 0:
        lines = open("/proc/self/status").read().splitlines()
        (memory,) = (line.split()[1] for line in lines if line.startswith("VmRSS"))
        print(record["round"] + 1, memory, time.process_time(), flush=True)

clients = dict(num_rounds={ROUNDS}, partition__num_clients=2, checkpoint__every_rounds=50)
run(tiny_config(**clients, sampling__every_rounds={ROUNDS}), sys.argv[1], on_record=show)
"""
"""Prints round, kB in memory, and seconds of processor time."""


@pytest.mark.slow
def test_10000_rounds_need_no_more_memory_and_time_than_500(compiled_so, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    print(answer.stdout)
    rows = [list(map(float, line.split())) for line in answer.stdout.splitlines()]
    assert [row[0] for row in rows] == list(range(FIRST, ROUNDS + 1, FIRST))
    assert rows[-1][1] <= MAX_GROWTH * rows[0][1]
    half = len(rows) // 2
    early, late = rows[half][2] - rows[0][2], rows[-1][2] - rows[-1 - half][2]
    assert late <= 1.3 * early, "processor time of as many rounds"
