"""The bytes of one upload: header, ranges, and one stream of packed codes.

Little endian, no padding but at the very end of the stream (L tensors):

======  ===========  ==========================================================================
bytes   field        meaning
======  ===========  ==========================================================================
4       magic        ``b"FJDQ"``
1       version      1
3       reserved     zero
4       num_tensors  L, uint32
4       fingerprint  CRC-32 of the tree's structure, shapes and dtypes: both ends must hold the
                     same model
4       checksum     CRC-32 of everything after the header
L       levels       bits of each tensor, uint8: 1..16, or 32
8 each  ranges       ``lo, step`` as float32, for each tensor with a level of at most 16
rest    codes        of each tensor in C order, ``level`` bits each, least significant bit
                     first; at level 32 the float32 pattern
======  ===========  ==========================================================================

``payload_bytes`` is the length of the message, to the byte, before anything is encoded.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.quantization.blocks import blocks_to_tree, tree_to_blocks
from fedjax_diffusion.quantization.stochastic import (
    FLOAT_BITS,
    LEVELS,
    Grid,
    broadcast_num_bits,
    codes_to_blocks,
    draw_codes,
    make_grid,
)
from fedjax_diffusion.types import Key, PyTree

_MAGIC = b"FJDQ"
_VERSION = 1
_HEADER = struct.Struct("<4sB3xIII")
_RANGE_BYTES = 8


class WireFormatError(ValueError):
    """A message that is damaged, truncated, of another version or for another model."""


def overhead_bits(tree: PyTree) -> np.ndarray:
    """Returns the bits of a message that are not codes, float64 [17], one per entry of ``LEVELS``.

    Header and level bytes at every level, ranges only where values are quantized (not at 32).
    """
    num_tensors = len(jax.tree.leaves(tree))
    header = 8 * (_HEADER.size + num_tensors)
    ranges = 8 * _RANGE_BYTES * sum(x.size > 0 for x in jax.tree.leaves(tree))
    return np.array([header + (ranges if b < FLOAT_BITS else 0) for b in LEVELS], np.float64)


def payload_bytes(tree: PyTree, num_bits: PyTree) -> int:
    """Returns ``len(encode_update(key, tree, num_bits))``; ``tree`` may hold shapes only."""
    leaves = jax.tree.leaves(tree)
    levels = np.asarray(broadcast_num_bits(num_bits, tree)).tolist()
    code_bits = sum(x.size * b for x, b in zip(leaves, levels, strict=True))
    num_ranges = int(_has_range(leaves, levels).sum())
    return _HEADER.size + len(leaves) + _RANGE_BYTES * num_ranges + -(-code_bits // 8)


def encode_update(key: Key, tree: PyTree, num_bits: PyTree) -> bytes:
    """Quantizes ``tree`` and returns the message a device uploads.

    Args:
      key: [], consumed, as in ``stochastic_quantize``.
      tree: pytree of float32 arrays.
      num_bits: int, or a pytree prefix of ``tree``: 1..16, or 32.

    Raises:
      ValueError: a level outside 1..16 and 32, a tensor that is not float32, or one with a NaN, an
        infinity or an overflowing range (at any level: nothing but numbers is ever sent).

    **Guarantees**: ``decode_update(encode_update(key, tree, b), tree) == stochastic_quantize(key,
    tree, b)``, bit for bit, and ``len(...) == payload_bytes(tree, b)``.
    """
    leaves = jax.tree.leaves(tree)
    for j, x in enumerate(leaves):
        if x.dtype != jnp.float32:
            raise ValueError(f"tensor {j} is {x.dtype}; an upload carries float32")
    blocks = tree_to_blocks(tree)
    grid = make_grid(blocks, tree, num_bits)
    for j in np.flatnonzero(~np.isfinite(grid.spread)):
        raise ValueError(
            f"tensor {j} cannot be sent: it has a NaN, an infinity or a range above float32"
        )
    levels = np.asarray(grid.num_bits).tolist()
    codes = draw_codes(key, blocks, grid, tree).astype(jnp.float32)  # below 2^16: exact
    stream = [
        _to_bits(np.asarray(x).view(np.uint32) if b == FLOAT_BITS else np.asarray(c, np.uint32), b)
        for x, c, b in zip(
            leaves, jax.tree.leaves(blocks_to_tree(codes, tree)), levels, strict=True
        )
    ]
    ranges = np.stack([grid.lo, grid.step], axis=1)[_has_range(leaves, levels)]
    body = bytes(levels) + ranges.astype("<f4").tobytes()
    body += np.packbits(np.concatenate(stream), bitorder="little").tobytes()
    header = _HEADER.pack(_MAGIC, _VERSION, len(leaves), _fingerprint(tree), zlib.crc32(body))
    return header + body


def decode_update(message: bytes, like: PyTree) -> PyTree:
    """Returns the tree that the server reconstructs from a message.

    Args:
      message: what ``encode_update`` returned.
      like: pytree with the structure, shapes and dtypes of the sender's tree (its values are not
        read).

    Raises:
      WireFormatError: a subclass of ValueError, for a message that is damaged, truncated, too long,
        of another version or made for another tree.
    """
    leaves, treedef = jax.tree.flatten(like)
    levels, ranges, bits = _parse(message, like)
    bounds = np.cumsum([0, *(x.size * level for x, level in zip(leaves, levels, strict=True))])
    words = [
        _from_bits(bits[start:end], level).reshape(x.shape)
        for start, end, level, x in zip(bounds, bounds[1:], levels, leaves, strict=False)
    ]
    lo, step = np.zeros((2, len(leaves)), np.float32)
    lo[_has_range(leaves, levels)], step[_has_range(leaves, levels)] = ranges.T
    grid = Grid(jnp.asarray(lo), jnp.asarray(step), jnp.asarray(levels), jnp.asarray(step))
    codes = tree_to_blocks([jnp.asarray(np.where(word < 2**16, word, 0)) for word in words])
    values = jax.tree.leaves(blocks_to_tree(codes_to_blocks(codes, grid, like), like))
    decoded = [
        jnp.asarray(word.view(np.float32)) if level == FLOAT_BITS else value
        for word, value, level in zip(words, values, levels, strict=True)
    ]
    return jax.tree.unflatten(treedef, decoded)


def _parse(message: bytes, like: PyTree) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Checks a message and returns (levels [L], ranges [n, 2], bits of the stream)."""
    leaves = jax.tree.leaves(like)
    if len(message) < _HEADER.size:
        raise WireFormatError(f"message of {len(message)} bytes is shorter than its header")
    magic, version, num_tensors, fingerprint, checksum = _HEADER.unpack_from(message)
    body = message[_HEADER.size :]
    if magic != _MAGIC:
        raise WireFormatError(f"not an upload: it starts with {magic!r}, not {_MAGIC!r}")
    if version != _VERSION:
        raise WireFormatError(f"version {version} of the format; this is version {_VERSION}")
    if num_tensors != len(leaves) or fingerprint != _fingerprint(like):
        raise WireFormatError("the message was made for another model (structure or shapes differ)")
    if zlib.crc32(body) != checksum or message[5:8] != bytes(3):
        raise WireFormatError("the message is damaged: its checksum does not match")
    levels = list(body[:num_tensors])
    if any(level not in LEVELS for level in levels):
        raise WireFormatError(f"levels {sorted(set(levels))} are not all 1..16 or 32")
    if len(message) != payload_bytes(like, jax.tree.unflatten(jax.tree.structure(like), levels)):
        raise WireFormatError(f"{len(message)} bytes do not fit the levels in the header")
    num_ranges = int(_has_range(leaves, levels).sum())
    ranges = np.frombuffer(body, "<f4", 2 * num_ranges, num_tensors).reshape(num_ranges, 2)
    if not np.isfinite(ranges).all() or (ranges[:, 1] < 0).any():
        raise WireFormatError("a range in the message is not finite or its step is negative")
    stream = np.frombuffer(body, np.uint8, offset=num_tensors + _RANGE_BYTES * num_ranges)
    return levels, ranges, np.unpackbits(stream, bitorder="little")


def _has_range(leaves: Sequence[Any], levels: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns bool [L]: the tensor's values are quantized, so its range is sent."""
    sizes = np.array([x.size for x in leaves])
    return (sizes > 0) & (np.asarray(levels) < FLOAT_BITS)


def _fingerprint(tree: PyTree) -> int:
    leaves: Sequence[tuple] = jax.tree.leaves_with_path(tree)
    text = ";".join(f"{jax.tree_util.keystr(path)}:{x.shape}:{x.dtype}" for path, x in leaves)
    return zlib.crc32(text.encode())


def _to_bits(codes: np.ndarray, level: int) -> np.ndarray:
    """Spreads uint32 [...] codes to uint8 [n * level] bits, least significant first."""
    shifts = np.arange(level, dtype=np.uint32)
    return ((codes.reshape(-1, 1) >> shifts) & 1).astype(np.uint8).ravel()


def _from_bits(bits: np.ndarray, level: int) -> np.ndarray:
    """Gathers uint8 [n * level] bits to uint32 [n] codes."""
    shifts = np.arange(level, dtype=np.uint32)
    return (bits.reshape(-1, level).astype(np.uint32) << shifts).sum(axis=1, dtype=np.uint32)
