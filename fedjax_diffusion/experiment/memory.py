"""Compute settings that need less device memory."""

import dataclasses

from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.guesses import AT_ONCE, find_guess

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
