"""Memory of the devices: what does not fit, and compute settings that need less."""

import dataclasses

import jax

from fedjax_diffusion.experiment.compute import ComputeConfig, count_memory_bytes
from fedjax_diffusion.experiment.guesses import AT_ONCE, find_guess
from fedjax_diffusion.federated import empty_client_memory
from fedjax_diffusion.quantization import QuantizationConfig, check_entropy_coding
from fedjax_diffusion.types import Params

_SHRINK = 4


class DeviceMemoryError(RuntimeError):
    """A round that does not fit into the device's memory; the message names lighter settings."""


def lighten(
    compute: ComputeConfig, clients_per_device: int, platform: str, *, is_conv_free: bool
) -> ComputeConfig | None:
    """Returns the next settings that need less memory, or None if there are none.

    The order is: a quarter of the clients at once, one client at a time, ``remat``.

    Args:
      compute: resolved settings.
      clients_per_device: clients of a cohort on one device, >= 1.
      platform: as in ``jax.default_backend()``.
      is_conv_free: whether the lowering of the convolutions may change; it then becomes the one
        that suits one client at a time.

    >>> ways = [ComputeConfig("vmap", None, "matmul")]
    >>> while (way := lighten(ways[-1], 20, "gpu", is_conv_free=True)) is not None:
    ...     ways.append(way)
    >>> [(way.client_map, way.chunk_size, way.conv, way.remat) for way in ways[1:3]]
    [('chunked', 5, 'matmul', False), ('map', None, 'stock', False)]
    >>> [(way.client_map, way.remat) for way in ways[3:]]
    [('map', True)]
    """
    if compute.client_map in AT_ONCE:
        at_once = compute.chunk_size if compute.client_map == "chunked" else clients_per_device
        size = min(at_once or 1, clients_per_device) // _SHRINK
        if size > 1:
            return dataclasses.replace(compute, client_map="chunked", chunk_size=size)
        conv = find_guess(platform, float("inf")).conv if is_conv_free else compute.conv
        return dataclasses.replace(compute, client_map="map", chunk_size=None, conv=conv)
    return None if compute.remat else dataclasses.replace(compute, remat=True)


def check_quantization(
    quantization: QuantizationConfig, params: Params, num_clients: int, num_devices: int
) -> None:
    """Raises ValueError if an option of quantization needs a package or memory that is missing.

    Args:
      quantization: of the run.
      params: the model, or its shapes.
      num_clients: K.
      num_devices: on which error feedback keeps the clients' memories.
    """
    if quantization.entropy_coding:
        check_entropy_coding()
    if not quantization.error_feedback:
        return
    memory = jax.eval_shape(lambda: empty_client_memory(quantization, params, num_clients))
    num_copies = num_devices if jax.default_backend() == "cpu" else 1  # in one memory
    needed, there = num_copies * memory.size * memory.dtype.itemsize, count_memory_bytes()
    if needed > there // 2:
        raise ValueError(
            f"quantization.error_feedback keeps a model per client, {needed / 2**30:.1f} GiB for "
            f"{num_clients} clients on {num_devices} devices: more than half of the memory, "
            f"{there / 2**31:.1f} GiB"
        )
