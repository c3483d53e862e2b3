"""First guess of the mapping of clients and the lowering of convolutions, without a trial."""

import math
from typing import NamedTuple

AT_ONCE = ("vmap", "chunked")
"""Mappings that train several clients of a device at the same time."""


class ClientLoad(NamedTuple):
    """Load of one client on a device.

    Attributes:
      step_flops: floating point operations of one local step.
      num_bytes: estimated memory of its training, bytes.
      average_bytes: memory of the cohort's updates on a device, if its average keeps them; bytes.
    """

    step_flops: float
    num_bytes: float
    average_bytes: float = 0.0


HEAVY = ClientLoad(math.inf, math.inf)
"""Load of a client whose FLOPs cannot be counted: it is trained alone."""


class Guess(NamedTuple):
    """One line of the table.

    Attributes:
      platform: as in ``jax.default_backend()``; "" for any other.
      max_step_flops: the line applies up to these FLOPs of one local step of one client.
      client_map: "map", or "vmap" for as many clients at once as fit into memory.
      conv: lowering of the convolutions if clients are mapped one by one.
      conv_at_once: the same if several clients are mapped at once.
      measured: the machine and the result of the measurement.
    """

    platform: str
    max_step_flops: float
    client_map: str
    conv: str
    conv_at_once: str
    measured: str


GUESSES = (
    Guess(
        "cpu",
        math.inf,
        "map",
        "plain",
        "matmul",
        "2 cores of an AMD EPYC, 2026-11-24: map was fastest for every model from 0.27 M to 4.24 M",
    ),
    Guess(
        "gpu",
        2e10,
        "vmap",
        "stock",
        "matmul",
        "NVIDIA H100, 2026-11-26, 0.27 M at 8x8 (1.3e9 FLOPs), 8 clients, ms per client-step: vmap "
        "with matmul 0.29, vmap with stock 0.42, map with stock 1.41; NVIDIA H200: vmap with "
        "matmul 0.26, with 64 clients 0.11, with 512 0.08, vmap with stock 0.39",
    ),
    Guess(
        "gpu",
        math.inf,
        "map",
        "stock",
        "stock",
        "NVIDIA H100, 2026-11-26, 4.24 M at 32x32 (3.8e11 FLOPs), ms per client-step: map with "
        "stock 4.64, PyTorch 13.3; vmap and chunked not measured",
    ),
    Guess("tpu", 2e10, "vmap", "stock", "matmul", "not measured: as on a GPU"),
    Guess("tpu", math.inf, "map", "stock", "stock", "not measured: as on a GPU"),
    Guess("", math.inf, "map", "stock", "stock", "not measured"),
)
"""Table of guesses; the first line that fits applies. Nothing was measured between 1.3e9 and 3.8e11
FLOPs on a GPU; the limit is near their geometric mean."""


def find_guess(platform: str, step_flops: float) -> Guess:
    """Returns the line of the table for a platform and the FLOPs of one local step.

    >>> find_guess("gpu", 1e9).client_map, find_guess("gpu", 1e12).client_map
    ('vmap', 'map')
    """
    return next(
        guess
        for guess in GUESSES
        if guess.platform in (platform, "") and step_flops <= guess.max_step_flops
    )


def guess_mapping(
    guess: Guess, clients_per_device: int, load: ClientLoad, memory_bytes: float
) -> tuple[str, int | None]:
    """Returns a guess's mapping and chunk size, such that they fit into half the memory.

    Args:
      guess: the line of the table.
      clients_per_device: clients of a cohort on one device, >= 1.
      load: of one client.
      memory_bytes: of a device.

    >>> guess_mapping(find_guess("gpu", 1e9), 512, ClientLoad(1e9, 1e8), 4e10)
    ('chunked', 128)
    """
    if guess.client_map not in AT_ONCE or clients_per_device == 1:
        return "map", None
    fitting = int((memory_bytes / 2 - load.average_bytes) // max(load.num_bytes, 1.0))
    if fitting >= clients_per_device:
        return "vmap", None
    if fitting < 2:
        return "map", None
    return "chunked", 1 << (fitting.bit_length() - 1)
