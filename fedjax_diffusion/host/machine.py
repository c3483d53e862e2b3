"""The machine as the system knows it: cores and GPU plugins, asked without JAX."""

import importlib.util
import os
import pkgutil

_GPU_PLUGINS = ("xla_cuda", "xla_rocm")
"""Prefixes of GPU modules in the package ``jax_plugins``, where JAX looks for its platforms."""


def count_cores() -> int:
    """Returns the number of cores this process may use; all if the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_gpu_plugin() -> bool:
    """Returns whether JAX would find a plugin for a GPU."""
    spec = importlib.util.find_spec("jax_plugins")
    modules = pkgutil.iter_modules((spec and spec.submodule_search_locations) or [])
    return any(module.name.startswith(_GPU_PLUGINS) for module in modules)
