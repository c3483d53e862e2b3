"""Host memory that XLA takes as it is on a CPU, instead of copying it."""

import numpy as np

_ALIGNMENT = 64
"""Bytes; where XLA's vectors may start."""


def aligned_zeros(num_bytes: int) -> np.ndarray:
    """Returns zeros, uint8 [num_bytes], whose memory starts at a multiple of 64 bytes.

    NumPy asks the system for large pages, which XLA does not: filling them takes half the time.
    """
    memory = np.zeros(num_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + num_bytes]
