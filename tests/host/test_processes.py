"""Two processes with a device each play one run: the same numbers as one process."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from fedjax_diffusion import run
from fedjax_diffusion.host.processes import agree, is_primary, join_processes
from fedjax_diffusion.runs.records import read_metrics
from tests.tiny import pixel_config

CHANGED = {"num_rounds": 2, "allocator.baselines": (), "sampling.every_rounds": 2}
"""Nothing that is compiled: the run of one process shares the programs of others."""
CONFIG = """
from matplotlib.figure import Figure

from fedjax_diffusion.runs import figure
from tests.pixels import get_config

figure.make_figure = lambda _: Figure((1, 1))
"""
"""Config file of the two: with the empty figure that the one has, see ``tests/conftest.py``."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def start(workdir, config, process_id, port):
    """Starts one of two processes with the command that the docs give."""
    settings = CHANGED | {"compute.cpu_devices": 1}
    environment = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
    command = [sys.executable, "-m", "fedjax_diffusion", "run", f"--workdir={workdir}"]
    command += [f"--config={config}"]
    command += [f"--config.{key}={value}" for key, value in settings.items()]
    command += [f"--coordinator=localhost:{port}", "--num_processes=2"]
    return subprocess.Popen(
        [*command, f"--process_id={process_id}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_processes_give_the_run_of_one(tmp_path):
    changed = {key.replace(".", "__"): value for key, value in CHANGED.items()}
    run(pixel_config(**changed), tmp_path / "one")
    port, config = free_port(), tmp_path / "pixels.py"
    config.write_text(CONFIG)
    processes = [start(tmp_path / "two", config, i, port) for i in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "loss" in outputs[0]
    assert "loss" not in outputs[1], "one process talks"
    assert (tmp_path / "two" / "samples" / "round_00002.png").exists()
    two, one = (read_metrics(tmp_path / name) for name in ("two", "one"))
    assert len(two) == len(one) == 2
    for ours, expected in zip(two, one, strict=True):
        assert ours["num_bits"] == expected["num_bits"]
        assert ours["uplink_bytes"] == expected["uplink_bytes"]
        # Their sums meet in another library, in another order.
        for name in ("loss", "quantization_error_bound", "total_joules"):
            np.testing.assert_allclose(ours[name], expected[name], rtol=1e-4)


def test_alone_everything_is_agreed():
    assert is_primary()
    assert agree(3) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost", 2, 0), "coordinator must be host:port, got 'localhost'"),
        ((":123", 2, 0), "coordinator must be host:port"),
        (("localhost:123", 0, 0), "num_processes must be at least 1, got 0"),
        (("localhost:123", 2, 2), r"process_id must be in 0\.\.1, got 2"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        join_processes(*arguments)
