"""Which entries of the blocks are the model's own, and which only fill up a tensor's last row."""

import numpy as np

from fedjax_diffusion.quantization.blocks import ROW, row_tensors, tensor_sizes
from fedjax_diffusion.types import PyTree


def row_entries(like: PyTree) -> np.ndarray:
    """Returns how many entries of each row belong to its tensor, int64 [R], in 1..128.

    >>> row_entries([np.zeros(130), np.zeros(128)]).tolist()
    [128, 2, 128]
    """
    rows = row_tensors(like)
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)  # of the row within its tensor
    return np.minimum(tensor_sizes(like)[rows] - ROW * place, ROW)
