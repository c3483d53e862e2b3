"""One upload as bytes, and back: the quantizer's codes, packed on the device.

The format, to the byte, is in ``message``; where a code lies is in ``layout``; how codes become
bits is in ``packing``. Here they meet the quantizer. What is decoded is what
``stochastic_quantize`` returns, because both come from the same codes and the same ranges.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.quantization.blocks import ROW, row_tensors
from fedjax_diffusion.quantization.host_blocks import make_blocks
from fedjax_diffusion.quantization.layout import (
    Layout,
    make_layout,
    packed_to_stream,
    stream_to_packed,
)
from fedjax_diffusion.quantization.message import (
    DamagedMessageError,
    last_values,
    num_message_bytes,
    num_overhead_bytes,
    read_message,
    write_message,
)
from fedjax_diffusion.quantization.packing import (
    code_dtype,
    pack_codes,
    unpack_codes,
    word_dtype,
)
from fedjax_diffusion.quantization.stochastic import (
    FLOAT_BITS,
    LEVELS,
    Grid,
    check_num_bits,
    codes_to_blocks,
    draw_codes,
    make_grid,
)
from fedjax_diffusion.types import Array, Key, PyTree


def overhead_bits(tree: PyTree) -> np.ndarray:
    """Returns the bits of a message that are not codes, float64 [17], one per entry of ``LEVELS``.

    Header and level bytes at every level, ranges only where values are quantized (not at 32).
    """
    layout = make_layout(tree)
    num_tensors = len(layout.sizes)
    return np.array([8.0 * num_overhead_bytes(layout, [b] * num_tensors) for b in LEVELS])


def payload_bytes(tree: PyTree, num_bits: PyTree) -> int:
    """Returns ``len(encode_update(key, tree, num_bits))``; ``tree`` may hold shapes only."""
    return num_message_bytes(make_layout(tree), _host_levels(num_bits, tree))


def encode_update(key: Key, tree: PyTree, num_bits: PyTree) -> bytes:
    """Quantizes ``tree`` and returns the message a device uploads.

    Args:
      key: [], consumed, as in ``stochastic_quantize``.
      tree: pytree of float32 arrays.
      num_bits: int, or a pytree prefix of ``tree``: 1..16, or 32.

    Raises:
      ValueError: a level outside 1..16 and 32, a tensor that is not float32, or one with a NaN, an
        infinity or an overflowing range (at any level: nothing but numbers is ever sent). The
        tensor is named by its path.

    **Guarantees**: ``decode_update(encode_update(key, tree, b), tree) == stochastic_quantize(key,
    tree, b)``, bit for bit, and ``len(...) == payload_bytes(tree, b)``. New levels do not recompile
    what draws; each level has one small program that packs.

    >>> tree = {"w": jnp.array([0.0, 0.25, 1.0])}
    >>> len(encode_update(jax.random.key(0), tree, 4))  # header 20, level 1, range 8, codes 12 bits
    31
    """
    layout, levels = _make_float32_layout(tree), _host_levels(num_bits, tree)
    quantized = [level for level in {*levels} if level < FLOAT_BITS]
    dtype = code_dtype(max(quantized)) if quantized else None
    blocks = make_blocks(tree, layout)
    grid, codes = _draw(key, blocks, np.array(levels, np.int32), layout, dtype)
    lo, step, _, spread = (np.asarray(field) for field in grid)
    step = np.where(np.array(levels) < FLOAT_BITS, step, 0)
    is_sendable = np.isfinite(spread) & np.isfinite(last_values(lo, step, levels))
    for j in np.flatnonzero(~is_sendable).tolist():
        raise ValueError(
            f"tensor {layout.names[j]} cannot be sent: "
            "it has a NaN, an infinity or a range above float32"
        )
    words = {level: pack_codes(codes, level) for level in quantized}
    words |= {FLOAT_BITS: blocks} if FLOAT_BITS in levels else {}
    packed = {level: _words_to_bytes(array) for level, array in words.items()}
    stream = packed_to_stream(packed, layout, levels)
    return write_message(layout, levels, lo, step, stream)


def decode_update(message: bytes, like: PyTree) -> PyTree:
    """Returns the tree that the server reconstructs from a message.

    Args:
      message: what ``encode_update`` returned.
      like: pytree with the structure, shapes and dtypes of the sender's tree (its values are not
        read).

    Raises:
      WireFormatError: a subclass of ValueError, for bytes that are no message for this tree:
        ``ForeignMessageError``, ``VersionError``, ``TruncatedMessageError`` or
        ``DamagedMessageError``.
      ValueError: a tensor of ``like`` is not float32.

    **Guarantees**: what is returned is finite, has the shapes of ``like`` and is the same to the
    bit on every machine (but for subnormal numbers, which some take for zero). Any one flipped bit
    and any cut is refused; a message that was changed *and* given a true checksum is either refused
    or says something else, never something undefined.
    """
    layout = _make_float32_layout(like)
    fields = read_message(message, layout)
    packed = stream_to_packed(fields.codes, layout, fields.levels)
    words = jax.device_put({b: _bytes_to_words(rows, b) for b, rows in packed.items()})
    floats = words.pop(FLOAT_BITS, None)
    codes = [unpack_codes(array, level) for level, array in words.items()]
    levels = np.array(fields.levels, np.int32)
    grid = Grid(*jax.device_put((fields.lo, fields.step, levels, fields.step)))
    flat = np.asarray(_reconstruct(codes, floats, grid, layout)).ravel()
    # Views, not slices on the device: on a CPU no byte is copied once more.
    parts = [
        flat[8 * first : 8 * first + size]
        for first, size in zip(layout.first_groups, layout.sizes, strict=True)
    ]
    for part, level, name in zip(parts, fields.levels, layout.names, strict=True):
        if level == FLOAT_BITS and not np.isfinite(part).all():
            raise DamagedMessageError(f"tensor {name} holds a NaN or an infinity")
    leaves, treedef = jax.tree.flatten(like)
    shaped = [part.reshape(x.shape) for part, x in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(treedef, jax.device_put(shaped))


@functools.partial(jax.jit, static_argnames=("layout", "dtype"))
def _draw(
    key: Key, blocks: Array, levels: Array, layout: Layout, dtype: np.dtype | None
) -> tuple[Grid, Array | None]:
    """Returns the grid and the codes, as ``dtype``, that ``stochastic_quantize`` has inside."""
    like = _shapes(layout)
    grid = make_grid(blocks, like, [*levels])
    return grid, None if dtype is None else draw_codes(key, blocks, grid, like).astype(dtype)


@functools.partial(jax.jit, static_argnames="layout")
def _reconstruct(codes: list[Array], floats: Array | None, grid: Grid, layout: Layout) -> Array:
    """Returns float32 [R, 128] from the codes [R, 128] of each level, zero where it has none."""
    like = _shapes(layout)
    if not codes and floats is not None:
        return floats
    values = codes_to_blocks(functools.reduce(jnp.bitwise_or, codes), grid, like)
    if floats is None:
        return values
    is_float = (grid.num_bits == FLOAT_BITS)[row_tensors(like), None]
    return jnp.where(is_float, floats, values)


def _shapes(layout: Layout) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct((size,), jnp.float32) for size in layout.sizes]


def _make_float32_layout(tree: PyTree) -> Layout:
    layout = make_layout(tree)
    for name, dtype in zip(layout.names, layout.dtypes, strict=True):
        if dtype != "float32":
            raise ValueError(f"tensor {name} is {dtype}; an upload carries float32")
    return layout


def _host_levels(num_bits: PyTree, tree: PyTree) -> list[int]:
    """Returns the level of each tensor, checked, from a level or a pytree prefix of levels."""
    check_num_bits(num_bits)
    return [int(level) for level in jax.tree.leaves(jax.tree.broadcast(num_bits, tree))]


def _words_to_bytes(words: Array) -> np.ndarray:
    """Returns an array's bytes, little endian, uint8 [n]."""
    array = np.asarray(words)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).view(np.uint8).ravel()


def _bytes_to_words(rows: np.ndarray, level: int) -> np.ndarray:
    """Returns packed rows, uint8 [n], as words [R, 128 level / W]; at level 32 as float32."""
    dtype = np.dtype(np.float32) if level == FLOAT_BITS else word_dtype(level)
    words = rows.view(dtype.newbyteorder("<")).astype(dtype, copy=False)
    return words.reshape(-1, ROW * level // (8 * dtype.itemsize))
