"""Platforms of JAX: the CPU in addition to an accelerator, and XLA's flags for a GPU."""

import functools
import os
import subprocess
import sys
from typing import Any

import jax
from jax._src import xla_bridge  # no public function says whether JAX has started

from fedjax_diffusion.host.machine import has_gpu_plugin

GPU_FLAGS = {"xla_gpu_autotune_level": "2", "xla_gpu_enable_triton_gemm": "false"}
"""Flags of XLA that a GPU run sets unless the user's ``XLA_FLAGS`` name them.

Level 2 times every algorithm of a convolution or matrix product and takes the fastest, like the
default 4, but does not compare their results. Without Triton products, each of which XLA compiles
in many tilings, a round compiles in two thirds of the time and runs equally fast
(docs/accelerators.md).
"""
_FLAGS = "XLA_FLAGS"


def has_started() -> bool:
    """Returns whether JAX has started: its devices cannot be chosen any more."""
    return xla_bridge.backends_are_initialized()


def prepare_platforms() -> None:
    """Adds the CPU to JAX's platforms, and the GPU flags if JAX has a plugin for a GPU.

    ``JAX_PLATFORMS=cuda`` alone excludes the CPU, on which the allocator and the channel are
    computed and FLOPs are counted. Changes nothing after JAX has started.

    Raises:
      ValueError: XLA does not know a flag in ``XLA_FLAGS``, or its value.
    """
    if has_started():
        return
    check_flags(read_flags())
    platforms = _read_platforms()
    if platforms and "cpu" not in platforms.split(","):
        jax.config.update("jax_platforms", f"{platforms},cpu")
    if platforms != "cpu" and has_gpu_plugin():
        os.environ[_FLAGS] = add_flags(os.environ.get(_FLAGS, ""), GPU_FLAGS)


@functools.cache
def check_flags(flags: str) -> None:
    """Raises ValueError if XLA cannot read its flags: it would end this process.

    Another process tries them, which takes half a second; without flags nothing is tried.
    """
    if not flags:
        return
    tried = subprocess.run(
        [sys.executable, "-c", "from jaxlib import xla_client; xla_client.CompileOptions()"],
        env={**os.environ, _FLAGS: flags},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if tried.returncode and "parse_flags_from_env" in tried.stderr:
        reason = tried.stderr.splitlines()[0].partition("] ")[2]
        raise ValueError(f"{_FLAGS}={flags}: {reason}; correct or unset it")


def check_precision() -> None:
    """Raises ValueError in JAX's 64-bit mode, in which a run would have other numbers."""
    if jax.config.values["jax_enable_x64"]:
        raise ValueError(
            "JAX_ENABLE_X64: runs compute with 32 bits, and the allocator with 64 by itself; unset "
            "it, or set jax_enable_x64 to False"
        )


def _read_platforms() -> str:
    config: Any = jax.config  # its flags are made at run time
    return config.jax_platforms or ""


def add_flags(flags: str, added: dict[str, str]) -> str:
    """Returns ``flags`` and those flags of ``added`` that ``flags`` does not set.

    >>> add_flags("--xla_gpu_autotune_level=0", {"xla_gpu_autotune_level": "2", "xla_b": "1"})
    '--xla_gpu_autotune_level=0 --xla_b=1'
    """
    given = {flag.lstrip("-").partition("=")[0] for flag in flags.split()}
    missing = [f"--{name}={value}" for name, value in added.items() if name not in given]
    return " ".join([*flags.split(), *missing])


def read_flags() -> str:
    """Returns this process's flags of XLA: the user's and its own."""
    return os.environ.get(_FLAGS, "")


@functools.cache
def cpu_device() -> Any:
    """Returns the first CPU device, a ``jax.Device``; it exists in addition to any accelerator.

    Raises:
      ValueError: JAX finds no device of ``JAX_PLATFORMS``, or was started without the CPU.
    """
    prepare_platforms()
    asked = os.environ.get("JAX_PLATFORMS") or _read_platforms()
    try:
        device, platform, reason = jax.local_devices(backend="cpu")[0], jax.default_backend(), ""
    except RuntimeError as error:
        device, platform, reason = None, "", f" ({' '.join(str(error).split())})"
    is_not_found = bool(asked) and "cpu" not in asked.split(",") and platform == "cpu"
    if device is None or is_not_found:
        raise ValueError(
            f"JAX_PLATFORMS={asked}: JAX finds no such device here, or was started without the "
            f"CPU; name platforms of this machine, cpu among them{reason}"
        )
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of JAX reports that a device is out of memory."""
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
