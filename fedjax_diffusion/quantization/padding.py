"""The model's own entries in the blocks, and the padding in a tensor's last row."""

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.quantization.blocks import ROW, row_tensors, tensor_sizes
from fedjax_diffusion.types import Array, PyTree


def row_entries(like: PyTree) -> np.ndarray:
    """Returns the number of a tensor's own entries in each row, int64 [R], in 1..128.

    >>> row_entries([np.zeros(130), np.zeros(128)]).tolist()
    [128, 2, 128]
    """
    rows = row_tensors(like)
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)  # of the row within its tensor
    return np.minimum(tensor_sizes(like)[rows] - ROW * place, ROW)


def is_entry(like: PyTree) -> np.ndarray:
    """Returns True for the model's own entries and False for the padding, bool [R, 128]."""
    return np.arange(ROW)[None, :] < row_entries(like)[:, None]


def refill(blocks: Array, like: PyTree) -> Array:
    """Pads the last row of each tensor with its first entry again, float32 [R, 128].

    Needed after sums of blocks with different padding.

    >>> np.asarray(refill(jnp.arange(128.0)[None, :], [np.zeros(2)]))[0, :4].tolist()
    [0.0, 1.0, 0.0, 0.0]
    """
    rows = row_tensors(like)
    first_rows = np.searchsorted(rows, rows)
    return jnp.where(is_entry(like), blocks, blocks[:, :1][first_rows])


def tensor_sums(blocks: Array, like: PyTree) -> Array:
    """Returns the sum of each tensor's own entries, float32 [L]; 0 for an empty one."""
    row_sums = jnp.where(is_entry(like), blocks, 0.0).sum(axis=1)
    num_tensors = len(tensor_sizes(like))
    return jax.ops.segment_sum(row_sums, row_tensors(like), num_tensors, indices_are_sorted=True)
