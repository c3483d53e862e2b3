"""Compute settings of a run, and the devices and mesh of the machine."""

import contextlib
import dataclasses
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import jax
from jax.sharding import AxisType, Mesh

from fedjax_diffusion.diffusion import ConvChoice
from fedjax_diffusion.experiment.auto_value import AUTO, auto_or
from fedjax_diffusion.experiment.guesses import (
    AT_ONCE,
    HEAVY,
    ClientLoad,
    find_guess,
    guess_mapping,
)
from fedjax_diffusion.federated import AXIS, CLIENT_MAPS
from fedjax_diffusion.host.machine import count_cores
from fedjax_diffusion.host.own_names import check_names
from fedjax_diffusion.host.platforms import (
    check_precision,
    cpu_device,
    prepare_platforms,
    read_flags,
)
from fedjax_diffusion.host.processes import agree
from fedjax_diffusion.values import Count, OneOf, Range, check_fields

TUNINGS = ("guess", "auto", "thorough")
DATA_PLACES = ("resident", "streamed")
DTYPES = ("float32", "bfloat16")
_MAX_DEVICES = 256
"""Most CPU devices of a process; with thousands XLA ends the process."""


@dataclass(frozen=True)
class ComputeConfig:
    """Use of the machine by the simulation; it changes results by rounding only.

    Attributes:
      client_map: ``auto``, ``loop``, ``map``, ``vmap`` or ``chunked``.
      chunk_size: clients at once on a device, >= 1, for ``chunked``; None otherwise.
      conv: lowering of the convolutions: ``auto``, ``stock``, ``plain``, ``matmul``, ``rows``, or a
        table of measured ones, by operation and shape.
      cpu_devices: number of CPU devices per process, in 1..256, or ``auto``: one per core, at most
        one per client. Takes effect only before JAX has started its backend.
      data: ``resident``, all images on every device; ``streamed``, each cohort's images are copied
        from the host while the devices work; ``auto``: streamed if all images would take more than
        a quarter of the memory.
      dtype: of the network's computation, ``float32`` or ``bfloat16``. Parameters, the loss,
        payloads and aggregates are float32.
      remat: recompute activations for the gradient instead of storing them.
      tune: how ``auto`` is resolved: ``guess``, by the table of ``guesses.py`` only; ``auto``, by a
        few trials if they are short compared with the run; ``thorough``, by trials of all mappings
        and lowerings, without a time limit.
      tune_seconds: time limit of the whole-round trials of ``auto``, in (0, 1e9]; a trial that has
        begun is finished. On a CPU, measuring the lowerings of a long run takes another 5 % of the
        run.

    Raises:
      ValueError: a value is out of range.
    """

    client_map: Annotated[str, OneOf((AUTO, *CLIENT_MAPS))] = AUTO
    chunk_size: Count | None = None
    conv: ConvChoice = AUTO
    cpu_devices: Annotated[str | int, auto_or(_MAX_DEVICES)] = AUTO
    data: Annotated[str, OneOf((AUTO, *DATA_PLACES))] = AUTO
    dtype: Annotated[str, OneOf(DTYPES)] = "float32"
    remat: bool = False
    tune: Annotated[str, OneOf(TUNINGS)] = AUTO
    tune_seconds: Annotated[float, Range(0, 1e9, is_above=True)] = 30.0

    def __post_init__(self):
        check_fields(self, "compute")

    def describe(self) -> str:
        """Returns the mapping of clients and the lowering of convolutions, in words.

        >>> ComputeConfig("chunked", 4, "matmul").describe()
        'clients by chunked of 4, convolutions by matmul'
        """
        size = "" if self.chunk_size is None else f" of {self.chunk_size}"
        conv = self.conv if isinstance(self.conv, str) else "a measured table"
        remat = ", activations computed again" * self.remat
        return f"clients by {self.client_map}{size}, convolutions by {conv}{remat}"


def count_memory_bytes() -> int:
    """Returns the memory of one device, or of the machine if the CPU is the device."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def start_backend(config: ComputeConfig, num_clients: int) -> None:
    """Starts JAX with a CPU in addition to any accelerator, and one CPU device per core.

    Clients sharded over one device per core are faster than threads inside an operation. The
    environment variable ``JAX_NUM_CPU_DEVICES`` has priority. If JAX has started already, it is not
    changed.

    Raises:
      ValueError: JAX finds no device of ``JAX_PLATFORMS``, runs without the CPU or in 64-bit mode,
        XLA cannot read ``XLA_FLAGS``, or a user's own name does not keep what it states.
    """
    check_precision()
    prepare_platforms()
    if "JAX_NUM_CPU_DEVICES" not in os.environ and config.client_map != "loop":
        num_cores = count_cores()
        is_auto = config.cpu_devices == AUTO
        count = min(num_cores, num_clients) if is_auto else int(config.cpu_devices)
        with contextlib.suppress(RuntimeError):  # JAX has started already
            jax.config.update("jax_num_cpu_devices", count)
    cpu_device()
    check_names()


def resolve(
    config: ComputeConfig,
    num_clients: int,
    image_bytes: int = 0,
    *,
    count_load: Callable[[], ClientLoad] = lambda: HEAVY,
) -> ComputeConfig:
    """Returns ``config`` with every ``auto`` replaced by the first guess for this machine.

    Args:
      config: as given, or resolved already.
      num_clients: M, the size of the cohort.
      image_bytes: of all images.
      count_load: returns the load of one client; called only if the guess depends on it, which it
        does not on a CPU.
    """
    platform_name = jax.default_backend()
    share = -(-num_clients // jax.process_count())
    num_devices = 1 if config.client_map == "loop" else min(jax.local_device_count(), share)
    if config.cpu_devices != AUTO:
        num_devices = min(num_devices, int(config.cpu_devices))
    client_map, chunk_size, conv = config.client_map, config.chunk_size, config.conv
    if AUTO in (client_map, conv):
        load = HEAVY if platform_name == "cpu" else count_load()
        guess = find_guess(platform_name, load.step_flops)
        if client_map == AUTO:
            clients_per_device = -(-share // num_devices)
            memory_bytes = agree(count_memory_bytes() >> 20) << 20  # one program for all processes
            client_map, chunk_size = guess_mapping(guess, clients_per_device, load, memory_bytes)
        if conv == AUTO:
            conv = guess.conv_at_once if client_map in AT_ONCE else guess.conv
    num_copies = num_devices if platform_name == "cpu" else 1  # in one memory
    is_large = num_copies * image_bytes > count_memory_bytes() // 4
    return dataclasses.replace(
        config,
        client_map=client_map,
        chunk_size=chunk_size,
        conv=conv,
        cpu_devices=num_devices,
        data=config.data if config.data != AUTO else DATA_PLACES[is_large],
    )


def make_mesh(num_devices: int) -> Mesh | None:
    """Returns a 1-D mesh over the first ``num_devices`` of every process; None for one device."""
    of_processes: dict[int, list] = {}
    for device in jax.devices():
        of_processes.setdefault(device.process_index, []).append(device)
    devices = [device for all_of in of_processes.values() for device in all_of[:num_devices]]
    if len(devices) == 1:
        return None
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def make_local_mesh(mesh: Mesh | None) -> Mesh | None:
    """Returns this process's part of a 1-D mesh; None for a single device."""
    if mesh is None:
        return None
    devices = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    return None if len(devices) == 1 else Mesh(devices, mesh.axis_names)


def describe_machine() -> dict[str, str | int]:
    """Returns the machine and the versions that a reader of a result needs."""
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "platform": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "num_devices": jax.local_device_count(),
        "num_processes": jax.process_count(),
        "xla_flags": read_flags(),
        "cpu_cores": count_cores(),
        "machine": platform.machine(),
        "system": platform.system(),
    }
