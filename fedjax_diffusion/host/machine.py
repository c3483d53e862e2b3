"""The machine as the system knows it: cores, GPUs and GPU plugins, asked without JAX."""

import importlib.util
import os
import pkgutil
import re
from pathlib import Path

CUDA_PLUGIN, ROCM_PLUGIN = _GPU_PLUGINS = ("xla_cuda", "xla_rocm")
"""Prefixes of GPU modules in the package ``jax_plugins``, where JAX looks for its platforms."""
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def count_cores() -> int:
    """Returns the number of cores this process may use; all if the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_gpu_plugin(prefixes: tuple[str, ...] = _GPU_PLUGINS) -> bool:
    """Returns whether JAX would find a plugin for a GPU, of a module that begins like this."""
    spec = importlib.util.find_spec("jax_plugins")
    modules = pkgutil.iter_modules((spec and spec.submodule_search_locations) or [])
    return any(module.name.startswith(prefixes) for module in modules)


def list_gpus(devices: Path = Path("/dev")) -> list[str]:
    """Returns the names of the NVIDIA GPUs that this process may use; none if it shall use none.

    A name is an entry of ``CUDA_VISIBLE_DEVICES``: that variable's own, or else a number per device
    file, of which a container has those of its own GPUs alone.

    Args:
      devices: the folder of the device files.
    """
    visible = os.environ.get(VISIBLE_GPUS)
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        return [name for name in names if name not in ("", "-1", "NoDevFiles")]
    files = [path for path in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    return [str(number) for number in range(len(files))]
