"""A model as ONE array: rows of 128 entries, each row belonging to one tensor.

A U-Net has a hundred tensors, most of them tiny. Quantizing them one by one makes a program of tens
of thousands of instructions that takes a minute to compile; as rows it is a dozen instructions.
R rows hold d entries; the last row of a tensor is filled up with its first entry, which changes
neither its smallest nor its largest.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.types import Array, PyTree

ROW = 128
"""Entries in a row."""


def tree_to_blocks(tree: PyTree) -> Array:
    """Returns the entries of a pytree of float arrays as float32 [R, 128], tensor by tensor.

    >>> tree_to_blocks({"a": jnp.ones(3), "b": jnp.zeros((2, 128))}).shape
    (3, 128)
    """
    rows = [_tensor_to_rows(x) for x in jax.tree.leaves(tree) if x.size]
    return jnp.concatenate(rows) if rows else jnp.zeros((0, ROW), jnp.float32)


def blocks_to_tree(blocks: Array, like: PyTree) -> PyTree:
    """Cuts float32 [R, 128] back into tensors with the shapes and dtypes of ``like``."""
    leaves, treedef = jax.tree.flatten(like)
    flat = blocks.ravel()
    starts = ROW * np.concatenate([[0], np.cumsum(_num_rows(like))]).astype(int)
    parts = [
        flat[start : start + x.size].reshape(x.shape).astype(x.dtype)
        for start, x in zip(starts, leaves, strict=False)
    ]
    return jax.tree.unflatten(treedef, parts)


def blocks_squared_norm(blocks: Array, like: PyTree) -> Array:
    """Returns ``||tree||^2``, float32 [], of the tree that float32 [R, 128] holds; no filling."""
    sizes, num_rows = tensor_sizes(like), _num_rows(like)
    used = np.full(num_rows.sum(), ROW)
    used[np.cumsum(num_rows)[sizes > 0] - 1] = (sizes[sizes > 0] - 1) % ROW + 1
    is_entry = jnp.arange(ROW)[None, :] < jnp.asarray(used)[:, None]
    return jnp.sum(jnp.where(is_entry, jnp.square(blocks), 0.0))


def row_tensors(tree: PyTree) -> np.ndarray:
    """Returns to which tensor each row belongs, int32 [R], ascending; ``tree`` may hold shapes."""
    num_rows = _num_rows(tree)
    return np.repeat(np.arange(len(num_rows), dtype=np.int32), num_rows)


def tensor_sizes(tree: PyTree) -> np.ndarray:
    """Returns the number of entries of each tensor, int64 [L]; ``tree`` may hold shapes."""
    return np.array([x.size for x in jax.tree.leaves(tree)], np.int64)


def _num_rows(tree: PyTree) -> np.ndarray:
    return -(-tensor_sizes(tree) // ROW)


def _tensor_to_rows(x: Array) -> Array:
    flat = x.astype(jnp.float32).ravel()
    filling = jnp.broadcast_to(flat[:1], (-x.size % ROW,))
    return jnp.concatenate([flat, filling]).reshape(-1, ROW)
