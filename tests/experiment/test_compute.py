"""The machine: what ``auto`` becomes, meshes, and starting the backend."""

import os
import subprocess
import sys

import jax
import pytest

from fedjax_diffusion.experiment.compute import (
    ComputeConfig,
    describe_machine,
    make_mesh,
    resolve,
    start_backend,
)
from fedjax_diffusion.host.machine import count_cores

CONFIG = ComputeConfig()


@pytest.mark.parametrize(
    ("config", "num_clients", "expected"),
    [
        (CONFIG, 5, ComputeConfig("map", None, "plain", 5, "resident")),
        (CONFIG, 100, ComputeConfig("map", None, "plain", 8, "resident")),
        (ComputeConfig("vmap"), 3, ComputeConfig("vmap", None, "matmul", 3, "resident")),
        (ComputeConfig("chunked", 4), 20, ComputeConfig("chunked", 4, "matmul", 8, "resident")),
        (ComputeConfig("loop"), 20, ComputeConfig("loop", None, "plain", 1, "resident")),
        (ComputeConfig(cpu_devices=2), 5, ComputeConfig("map", None, "plain", 2, "resident")),
        (ComputeConfig(conv="stock"), 1, ComputeConfig("map", None, "stock", 1, "resident")),
    ],
)
def test_auto_becomes_what_eight_cpu_devices_get(config, num_clients, expected):
    resolved = resolve(config, num_clients)
    assert resolved == expected
    assert resolve(resolved, num_clients) == resolved, "a resumed run computes the same way"


def test_cores_are_counted_where_the_system_knows_no_affinity(monkeypatch):
    assert count_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert count_cores() == 7
    assert describe_machine()["cpu_cores"] == 7


def test_a_mesh_lies_over_the_first_devices():
    assert make_mesh(1) is None
    mesh = make_mesh(3)
    assert mesh.axis_names == ("clients",)
    assert mesh.devices.tolist() == jax.local_devices()[:3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"client_map": "pmap"}, "compute.client_map must be one of auto, loop, map"),
        ({"cpu_devices": 0}, "compute.cpu_devices must be auto or a whole number in 1..256, got 0"),
        (
            {"cpu_devices": "all"},
            "compute.cpu_devices must be auto or a whole number in 1..256, got 'all'",
        ),
        (
            {"conv": "fft"},
            "compute.conv must be one of auto, stock, plain, matmul, rows, got 'fft'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        resolve(ComputeConfig(**options), num_clients=4)


def test_a_backend_that_runs_is_left_alone(monkeypatch):
    jax.devices()
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES")
    start_backend(ComputeConfig(cpu_devices=2), num_clients=2)
    assert jax.local_device_count() == 8


SCRIPT = """
import os
import jax
from jax.extend.backend import clear_backends
from fedjax_diffusion.experiment.compute import ComputeConfig, start_backend
start_backend(ComputeConfig(cpu_devices=3), num_clients=5)
print(jax.local_device_count())
del os.environ["JAX_NUM_CPU_DEVICES"]
clear_backends()
start_backend(ComputeConfig(cpu_devices=3), num_clients=5)
print(jax.local_device_count())
"""


def test_a_backend_that_starts_gets_its_devices_and_the_environment_goes_first():
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["2", "3"], "of the environment, then of the config"


def test_the_machine_is_described():
    machine = describe_machine()
    assert machine["jax"] == jax.__version__
    assert machine["platform"] == "cpu"
    assert machine["num_devices"] == 8
