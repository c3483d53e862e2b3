"""Runs that are killed or stopped at random moments end as if nothing had happened."""

import random
import signal
import subprocess
import sys

import pytest

from fedjax_diffusion.runs.records import read_metrics
from tests.reliability.test_resumption import FLAGS, without_time

MAX_SECONDS = 25.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_chain_of_kills_ends_with_the_same_bits(finished, tmp_path, seed):
    """Ten signals, at most; the longer a process may live, the later they come."""
    chance, folder = random.Random(seed), tmp_path / "run"
    command = [sys.executable, "-m", "fedjax_diffusion", "run", f"--workdir={folder}", *FLAGS]
    for _ in range(10):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.wait(timeout=chance.uniform(0.0, MAX_SECONDS))
        except subprocess.TimeoutExpired:
            process.send_signal(chance.choice((signal.SIGKILL, signal.SIGTERM)))
        _, error = process.communicate()
        assert b"Traceback" not in error
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert without_time(read_metrics(folder)) == without_time(read_metrics(finished))
    for name in ("checkpoints/4/leaves.bin", "samples/round_00004.png", "figures/training.png"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes()
    assert not [path for path in folder.rglob(".*") if path.name.endswith(".tmp")]
