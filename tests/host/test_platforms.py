"""JAX's platforms: the CPU is added, flags are set for a GPU, what is not there is one line."""

import os
import subprocess
import sys

import jax
import pytest

from fedjax_diffusion.cli.main import main
from fedjax_diffusion.host import platforms
from fedjax_diffusion.host.platforms import (
    GPU_FLAGS,
    add_flags,
    check_flags,
    is_out_of_memory,
    prepare_platforms,
)
from tests.tiny import PIXELS

ALLOCATE = """
import jax
from jax.extend.backend import register_backend_factory
from jaxlib import xla_client
register_backend_factory("fake", xla_client.make_cpu_client, priority=500)
jax.default_backend = lambda: "fake"  # its client says that it is a CPU's
from fedjax_diffusion import AllocationProblem, allocate
print(jax.config.jax_platforms)
problem = AllocationProblem(
    compute_cycles=[2e9], effective_capacitance=1e-28, max_frequency_hz=2e9, channel_gain=1e-11,
    bandwidth_hz=1e6, max_power_watts=0.2, noise_density_watts_per_hz=4e-21, num_parameters=267_000,
    overhead_bits=512, min_bits=2, max_bits=16, error_weight=1.0, error_budget=None,
    time_budget_seconds=6.0)
print(allocate(problem, "fixed_bits:2").num_bits[0], jax.config.jax_platforms)
"""
COMMANDS = """
import os
import sys
import jax
from fedjax_diffusion.cli.main import main
for platform, flags, command, place in (line.split() for line in sys.argv[1:]):
    os.environ["JAX_PLATFORMS"] = platform
    jax.config.update("jax_platforms", platform)
    os.environ["XLA_FLAGS"] = flags.removeprefix("none")
    print(main([command, place]))
"""


def start(script, *arguments, **environment):
    """Returns a finished process that had these variables and no other of JAX."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=inherited | environment,
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_allocator_has_its_cpu_where_an_accelerator_alone_was_asked_for():
    answer = start(ALLOCATE, JAX_PLATFORMS="fake")
    assert answer.stdout.split() == ["fake", "2", "fake,cpu"], answer.stderr


def test_flags_and_platforms_that_would_end_a_run_are_refused_in_one_line(tmp_path):
    """One process for all commands, in which JAX has not started after a refusal."""
    workdir, flags = f"--workdir={tmp_path / 'run'}", "--nonsense"
    refusals = {
        f"cpu {flags} run {workdir}": f"XLA_FLAGS={flags}: Unknown flag",
        f"cuda none run {workdir}": "JAX_PLATFORMS=cuda: JAX finds no",
        f"nonsense none evaluate --images={tmp_path}": "JAX_PLATFORMS=nonsense: JAX finds no",
        f"tpu none study {workdir}": "JAX_PLATFORMS=tpu: JAX finds no",
    }
    answer = start(COMMANDS, *refusals, JAX_PLATFORMS="cuda")
    assert answer.stdout.split() == ["2"] * len(refusals), answer.stderr
    lines = answer.stderr.splitlines()
    for message, line in zip(refusals.values(), lines, strict=True):
        assert line.startswith(f"fedjax-diffusion: {message}")
    assert not (tmp_path / "run").exists()


TRITON = "--xla_gpu_enable_triton_gemm"


@pytest.mark.parametrize(
    ("has_plugin", "given", "expected"),
    [
        (True, None, f"--xla_gpu_autotune_level=2 {TRITON}=false"),
        (
            True,
            f"--xla_gpu_autotune_level=4 --xla_a {TRITON}=true",
            f"--xla_gpu_autotune_level=4 --xla_a {TRITON}=true",
        ),
        (False, None, None),
    ],
)
def test_flags_are_set_for_a_gpu_unless_the_user_has(has_plugin, given, expected, monkeypatch):
    monkeypatch.setattr(platforms, "has_gpu_plugin", lambda: has_plugin)
    monkeypatch.setattr(platforms, "_read_platforms", lambda: "")
    monkeypatch.setattr(platforms, "check_flags", lambda flags: None)  # XLA knows no --xla_a
    monkeypatch.setattr(platforms.xla_bridge, "backends_are_initialized", lambda: False)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    if given is not None:
        monkeypatch.setenv("XLA_FLAGS", given)
    prepare_platforms()
    assert os.environ.get("XLA_FLAGS") == expected


def test_nothing_is_changed_once_jax_has_started(monkeypatch):
    """Neither what is recorded nor what other processes would inherit."""
    monkeypatch.setattr(platforms, "has_gpu_plugin", lambda: True)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    platforms.jax.devices()
    prepare_platforms()
    assert "XLA_FLAGS" not in os.environ


BAD_FLAGS = {
    "--nonsense": "Unknown flag in XLA_FLAGS: --nonsense",
    "--xla_cpu_enable_fast_math=maybe": "Couldn't interpret value maybe for flag xla_cpu_enable",
    "nonsense": 'Could not open file "nonsense"',
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_flags_that_xla_cannot_read_are_one_line(flags):
    with pytest.raises(ValueError, match=r"correct or unset it$") as error:
        check_flags(flags)
    assert str(error.value).startswith(f"XLA_FLAGS={flags}: {BAD_FLAGS[flags]}")
    assert "\n" not in str(error.value)


def test_flags_that_xla_knows_are_taken():
    """The package's own for a GPU among them: an unknown flag would end the process."""
    check_flags(add_flags("--xla_force_host_platform_device_count=2", GPU_FLAGS))
    check_flags("")


def test_a_run_with_64_bits_is_refused_in_one_line(tmp_path, capsys):
    """As ``JAX_ENABLE_X64=1`` sets them: for the process."""
    workdir = tmp_path / "run"
    jax.config.update("jax_enable_x64", True)
    try:
        assert main(["run", *PIXELS, f"--workdir={workdir}"]) == 2
    finally:
        jax.config.update("jax_enable_x64", False)
    error = capsys.readouterr().err
    assert error.startswith("fedjax-diffusion: JAX_ENABLE_X64: runs compute with 32 bits")
    assert error.count("\n") == 1
    assert not workdir.exists()


def test_running_out_of_memory_is_told_from_other_failures():
    assert is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Failed to allocate 5 bytes"))
    assert is_out_of_memory(RuntimeError("INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory"))
    assert not is_out_of_memory(RuntimeError("INTERNAL: no memory of this"))
