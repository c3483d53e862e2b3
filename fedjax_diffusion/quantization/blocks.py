"""A model as ONE array: rows of 128 entries, each row of one tensor only.

A U-Net has a hundred tensors, most of them tiny. A program that quantizes them one by one has tens
of thousands of instructions and compiles for a minute; with rows it has a dozen instructions.
R rows hold d entries; the last row of a tensor is padded with its first entry, which changes
neither its smallest nor its largest.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.types import Array, PyTree

ROW = 128
"""Entries in a row."""
_ARRAYS = (jax.Array, np.ndarray, np.generic)
ARRAYS_OR_SHAPES = (*_ARRAYS, jax.ShapeDtypeStruct)
"""Kinds of leaves that have a shape and a dtype."""


def check_tensors(tree: PyTree, kinds: tuple[type, ...] = _ARRAYS) -> None:
    """Raises ValueError unless every leaf is an array of floats; names the first that is not.

    Args:
      tree: pytree.
      kinds: of leaves that are taken.
    """
    for path, x in jax.tree.leaves_with_path(tree):
        name = jax.tree_util.keystr(path) or "(root)"
        if not isinstance(x, kinds):
            raise ValueError(
                f"tensor {name} is a {type(x).__name__}, no array; "
                "jax.numpy.asarray(x, jax.numpy.float32) makes an array of a number"
            )
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"tensor {name} is {x.dtype}; floating-point tensors are quantized")


def to_jax_dtype(dtype: np.dtype) -> np.dtype:
    """Returns the dtype that JAX keeps such numbers in: float32 for float64, in 32-bit mode."""
    return jax.dtypes.canonicalize_dtype(dtype)


def tree_to_blocks(tree: PyTree) -> Array:
    """Returns the entries of a pytree of float arrays as float32 [R, 128], tensor by tensor.

    Raises:
      ValueError: a leaf is no array of floats; names it.

    >>> jax.jit(tree_to_blocks)({"a": np.ones(3), "b": np.zeros((2, 128))}).shape
    (3, 128)
    """
    check_tensors(tree)
    rows = [_tensor_to_rows(x) for x in jax.tree.leaves(tree) if x.size]
    return jnp.concatenate(rows) if rows else jnp.zeros((0, ROW), jnp.float32)


def blocks_to_tree(blocks: Array, like: PyTree) -> PyTree:
    """Cuts float32 [R, 128] back into tensors with the shapes and dtypes of ``like``."""
    leaves, treedef = jax.tree.flatten(like)
    flat = blocks.ravel()
    starts = ROW * np.concatenate([[0], np.cumsum(_num_rows(like))]).astype(int)
    parts = [
        flat[start : start + x.size].reshape(x.shape).astype(to_jax_dtype(x.dtype))
        for start, x in zip(starts, leaves, strict=False)
    ]
    for j in np.flatnonzero(tensor_sizes(like))[:1]:
        parts[j] = (
            parts[j].at[(0,) * parts[j].ndim].set(_first_entry(blocks).astype(parts[j].dtype))
        )
    return jax.tree.unflatten(treedef, parts)


def blocks_squared_norm(blocks: Array, like: PyTree) -> Array:
    """Returns ``||tree||^2``, float32 [], of a tree as float32 [R, 128], without the padding."""
    sizes, num_rows = tensor_sizes(like), _num_rows(like)
    used = np.full(num_rows.sum(), ROW)
    used[np.cumsum(num_rows)[sizes > 0] - 1] = (sizes[sizes > 0] - 1) % ROW + 1
    is_entry = jnp.arange(ROW)[None, :] < jnp.asarray(used)[:, None]
    return jnp.sum(jnp.where(is_entry, jnp.square(blocks), 0.0))


def tensor_ranges(blocks: Array, like: PyTree) -> tuple[Array, Array]:
    """Returns the smallest and the largest entry of each tensor, float32 [L] each.

    One pass over the entries. (0, 0) for an empty tensor; if an entry is NaN, one of the two is.

    >>> tree = {"a": np.arange(3.0), "b": -np.ones(200)}
    >>> ranges = jax.jit(lambda tree: tensor_ranges(tree_to_blocks(tree), tree))(tree)
    >>> [x.tolist() for x in ranges]
    [[0.0, -1.0], [2.0, -1.0]]
    """
    sizes = tensor_sizes(like)
    limits = jnp.iinfo(jnp.int32)
    order = _flip_negative(jax.lax.bitcast_convert_type(blocks, jnp.int32))
    lo, hi = jax.lax.reduce(
        (order, order),
        (np.int32(limits.max), np.int32(limits.min)),
        lambda a, b: (jnp.minimum(a[0], b[0]), jnp.maximum(a[1], b[1])),
        (1,),
    )
    extremes = jax.ops.segment_max(
        jnp.stack([~lo, hi], axis=1),  # ~ reverses the order
        row_tensors(like),
        num_segments=len(sizes),
        indices_are_sorted=True,
    )
    words = _flip_negative(jnp.stack([~extremes[:, 0], extremes[:, 1]]))
    ranges = jax.lax.bitcast_convert_type(words, jnp.float32)
    return jnp.where(sizes > 0, ranges[0], 0.0), jnp.where(sizes > 0, ranges[1], 0.0)


def row_tensors(tree: PyTree) -> np.ndarray:
    """Returns the tensor of each row, int32 [R], ascending; ``tree`` may hold shapes."""
    num_rows = _num_rows(tree)
    return np.repeat(np.arange(len(num_rows), dtype=np.int32), num_rows)


def tensor_sizes(tree: PyTree) -> np.ndarray:
    """Returns the number of entries of each tensor, int64 [L]; ``tree`` may hold shapes."""
    return np.array([x.size for x in jax.tree.leaves(tree)], np.int64)


def _flip_negative(word: Array) -> Array:
    """Maps float32 patterns, as int32, to integers of the same order, and back.

    Integers have no NaN and one zero, so their minimum is one instruction instead of six; a NaN
    becomes an integer beyond the infinity of its sign.
    """
    return word ^ ((word >> 31) & jnp.iinfo(jnp.int32).max)


def _num_rows(tree: PyTree) -> np.ndarray:
    return -(-tensor_sizes(tree) // ROW)


def _first_entry(blocks: Array) -> Array:
    """Returns ``blocks[0, 0]`` through a branch, so that XLA computes the blocks first.

    Slices are so cheap that XLA would fuse the computation of the blocks into each of them: L
    programs to compile, and slower ones. The input of a branch must be complete.
    """

    def entry(blocks: Array) -> Array:
        return blocks[0, 0]

    return jax.lax.cond(entry(blocks) > 0, entry, entry, blocks)


def _tensor_to_rows(x: Array) -> Array:
    flat = x.astype(jnp.float32).ravel()
    filling = jnp.broadcast_to(flat[:1], (-x.size % ROW,))
    return jnp.concatenate([flat, filling]).reshape(-1, ROW)
