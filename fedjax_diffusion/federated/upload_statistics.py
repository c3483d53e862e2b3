"""Measurements of the last uploads, from which the next round is planned."""

from dataclasses import dataclass

import numpy as np

from fedjax_diffusion.types import Array

NOT_MEASURED = -1.0
"""``bit_width_error`` and ``update_squared_norm`` before there was anything to measure."""


@dataclass(frozen=True)
class UploadStatistics:
    """The last uploads of all clients, on the host or on the devices.

    Attributes:
      round: int32 [], the round that comes next.
      bit_width_error: float32 [K, 17], bound on the squared error of each client's last upload at
        each of ``BIT_WIDTHS``, in squared parameter units; ``NOT_MEASURED`` for a client that has
        not uploaded yet.
      update_squared_norm: float32 [], squared norm of the last mean update; ``NOT_MEASURED`` at
        first.
    """

    round: Array | np.ndarray | int
    bit_width_error: Array | np.ndarray
    update_squared_norm: Array | np.ndarray | float
