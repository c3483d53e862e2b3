"""The machine the simulation runs on: its devices, the mesh, and the mapping that suits it."""

import contextlib
import os
import platform
from dataclasses import dataclass

import jax
from jax.sharding import AxisType, Mesh

from fedjax_diffusion.diffusion import choose_conv
from fedjax_diffusion.federated import AXIS, CLIENT_MAPS

AUTO = "auto"


@dataclass(frozen=True)
class ComputeConfig:
    """How the simulation uses the machine. None of it changes results beyond float32 rounding.

    Attributes:
      client_map: ``auto``, ``loop``, ``map``, ``vmap`` or ``chunked``.
      chunk_size: clients at once on a device, >= 1, for ``chunked``; None otherwise.
      conv: lowering of the convolutions: ``auto``, ``stock``, ``plain`` or ``matmul``.
      cpu_devices: CPU devices to make of the cores, >= 1, or ``auto``: one per core, at most one
        per client. Takes effect only before JAX has started its backend.

    Raises:
      ValueError: ``client_map`` or ``cpu_devices`` is none of these; the other two are checked
        by ``choose_conv`` and ``make_client_map``.
    """

    client_map: str = AUTO
    chunk_size: int | None = None
    conv: str = AUTO
    cpu_devices: int | str = AUTO

    def __post_init__(self):
        if self.client_map not in (AUTO, *CLIENT_MAPS):
            names = ", ".join((AUTO, *CLIENT_MAPS))
            raise ValueError(f"compute.client_map must be one of {names}, got {self.client_map!r}")
        count = self.cpu_devices
        if count != AUTO and not (str(count).isdecimal() and int(count) >= 1):
            raise ValueError(f"compute.cpu_devices must be 'auto' or at least 1, got {count!r}")


def count_cores() -> int:
    """Returns the cores this process may use; where the system does not tell (macOS), all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_memory_bytes() -> int:
    """Returns the memory of one device, or of the machine where the CPU is the device."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def start_backend(config: ComputeConfig, num_clients: int) -> None:
    """Makes one CPU device per core, if JAX has not started yet; does nothing afterwards.

    Clients sharded over one device per core beat threads inside an operation. The environment's
    ``JAX_NUM_CPU_DEVICES`` goes first.
    """
    if "JAX_NUM_CPU_DEVICES" in os.environ or config.client_map == "loop":
        return
    num_cores = count_cores()
    is_auto = config.cpu_devices == AUTO
    count = min(num_cores, num_clients) if is_auto else int(config.cpu_devices)
    with contextlib.suppress(RuntimeError):  # it runs already: whoever started it chose
        jax.config.update("jax_num_cpu_devices", count)


def resolve(config: ComputeConfig, num_clients: int) -> ComputeConfig:
    """Returns ``config`` with every ``auto`` replaced by what this machine gets."""
    client_map = "map" if config.client_map == AUTO else config.client_map
    conv = choose_conv(config.conv, platform=jax.default_backend(), client_map=client_map)
    num_devices = 1 if client_map == "loop" else min(jax.local_device_count(), num_clients)
    if config.cpu_devices != AUTO:
        num_devices = min(num_devices, int(config.cpu_devices))
    return ComputeConfig(client_map, config.chunk_size, conv, num_devices)


def make_mesh(num_devices: int) -> Mesh | None:
    """Returns a 1-D mesh over the first ``num_devices`` devices; None for a single one."""
    if num_devices == 1:
        return None
    devices = jax.local_devices()[:num_devices]
    return jax.make_mesh((num_devices,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def describe_machine() -> dict[str, str | int]:
    """Returns what a reader of a result wants to know of the machine and the versions."""
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "platform": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "num_devices": jax.local_device_count(),
        "cpu_cores": count_cores(),
        "machine": platform.machine(),
        "system": platform.system(),
    }
