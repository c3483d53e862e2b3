"""Ways to use the machine that take less memory of a device."""

import dataclasses

from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.guesses import AT_ONCE, find_guess

_SHRINK = 4


class DeviceMemoryError(RuntimeError):
    """A round does not fit into the device's memory; the message says what would take less."""


def lighten(
    compute: ComputeConfig, clients_per_device: int, platform: str, *, is_conv_free: bool
) -> ComputeConfig | None:
    """Returns the next way that takes less memory; None if there is none.

    A quarter of the clients at once, then one after the other, then ``remat``.

    Args:
      compute: resolved.
      clients_per_device: of a cohort, >= 1.
      platform: as in ``jax.default_backend()``.
      is_conv_free: whether the lowering of the convolutions was not asked for: then it changes to
        the one that suits clients one after the other.

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
