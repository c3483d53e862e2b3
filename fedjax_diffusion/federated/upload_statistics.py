"""Measurements of the last uploads, used to plan the next round."""

from dataclasses import dataclass

import numpy as np

from fedjax_diffusion.types import Array

NOT_MEASURED = -1.0
"""The value of ``bit_width_error`` and ``update_squared_norm`` before the first measurement."""


@dataclass(frozen=True)
class UploadStatistics:
    """Statistics of all clients' last uploads, on the host or on the devices.

    Attributes:
      round: int32 [], the number of the next round.
      bit_width_error: float32 [K, 17], bound on the squared error of each client's last upload at
        each of ``BIT_WIDTHS``, in squared parameter units; ``NOT_MEASURED`` for a client that has
        not uploaded yet.
      update_squared_norm: float32 [], squared norm of the last mean update; ``NOT_MEASURED`` at
        first.
    """

    round: Array | np.ndarray | int
    bit_width_error: Array | np.ndarray
    update_squared_norm: Array | np.ndarray | float

    @property
    def last_squared_norm(self) -> float | None:
        """``update_squared_norm`` on the host; None before the first update."""
        norm = float(np.asarray(self.update_squared_norm))
        return None if norm == NOT_MEASURED else norm
