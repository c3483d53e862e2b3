"""Encoding of an upload as bytes, and decoding: the quantizer's codes are packed on the device.

``message`` describes the bytes of the format, ``layout`` the places of the codes, ``packing`` the
bits of the codes. This module combines them with the quantizer. The decoded values are those of
``stochastic_quantize``, because both come from the same codes and the same ranges.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS, MAX_BITS
from fedjax_diffusion.quantization.blocks import ROW, check_tensors, row_tensors
from fedjax_diffusion.quantization.grid import Grid, check_num_bits, codes_to_blocks, list_num_bits
from fedjax_diffusion.quantization.quantizer import Quantizer, Transform
from fedjax_diffusion.quantization.quantizers import check_options, find_quantizer, quantize
from fedjax_diffusion.quantization.wire.entropy import decode_codes
from fedjax_diffusion.quantization.wire.errors import DamagedMessageError
from fedjax_diffusion.quantization.wire.host_blocks import make_blocks
from fedjax_diffusion.quantization.wire.layout import Layout, make_layout, stream_to_packed
from fedjax_diffusion.quantization.wire.message import (
    Message,
    message_bytes,
    num_overhead_bytes,
    read_message,
)
from fedjax_diffusion.quantization.wire.own_payload import stream_to_codes
from fedjax_diffusion.quantization.wire.packing import code_dtype, unpack_codes, word_dtype
from fedjax_diffusion.quantization.wire.upload import check_sendable, write_upload
from fedjax_diffusion.types import Array, Key, PyTree


def overhead_bits(tree: PyTree, quantizer: str = "stochastic") -> np.ndarray:
    """Returns the bits of a message that are not codes, float64 [17], per entry of ``BIT_WIDTHS``.

    Header and bit widths at every bit width; ranges, and a seed if the quantizer has one, only if
    values are quantized (not at 32, and no bit width is below the quantizer's smallest).
    """
    layout = make_layout(tree)
    return 8.0 * num_overhead_bytes(layout, _all_bit_widths(layout, quantizer), quantizer)


def own_payload_bits(tree: PyTree, quantizer: str) -> np.ndarray | None:
    """Returns the bits of a whole message at each of ``BIT_WIDTHS``, float64 [17].

    Only of a quantizer with a payload of its own; None for others: their codes have b bits each.
    """
    if find_quantizer(quantizer).payload is None:
        return None
    layout = make_layout(tree)
    return 8.0 * message_bytes(layout, _all_bit_widths(layout, quantizer), quantizer)


def payload_bytes(tree: PyTree, num_bits: PyTree, quantizer: str = "stochastic") -> int:
    """Returns ``len(encode_update(key, tree, num_bits, quantizer=quantizer))``, a plain message.

    Args:
      tree: pytree of arrays or of their shapes.
      num_bits: as in ``encode_update``.
      quantizer: name of the quantizer.
    """
    return int(
        message_bytes(make_layout(tree), _host_bit_widths(num_bits, tree, quantizer), quantizer)
    )


def encode_update(
    key: Key,
    tree: PyTree,
    num_bits: PyTree,
    *,
    quantizer: str = "stochastic",
    per_tensor: bool = False,
    entropy_coding: bool = False,
) -> bytes:
    """Quantizes ``tree`` and returns the message that a device uploads.

    Args:
      key: [], consumed, as in ``stochastic_quantize``.
      tree: pytree of float32 arrays.
      num_bits: int, or a pytree prefix of ``tree``: 1..16, or 32.
      quantizer: name of the quantizer, one of ``QUANTIZERS``.
      per_tensor: whether ``num_bits``, then one bit width, is an average split over the tensors.
      entropy_coding: whether codes are entropy coded if that is shorter; needs ``constriction``.

    Raises:
      ValueError: an unknown quantizer, a bit width outside 1..16 and 32, a tensor that is not
        float32, or one with a NaN, an infinity or an overflowing range (at any bit width, only
        finite numbers are sent; rotated ones must be below 1/64 of the largest float32). The
        message names the tensor's path.

    Guarantees:
      ``decode_update(encode_update(key, tree, b, quantizer=s, ...), tree)`` equals ``decoded`` of
      ``quantize``, bit for bit; for ``stochastic``, ``stochastic_quantize(key, tree, b)``.
      ``len(...) == payload_bytes(tree, b, s)`` if neither split nor entropy coded. New bit widths
      do not recompile the draws; each bit width has a small program for packing.

    >>> tree = {"w": jnp.array([0.0, 0.25, 1.0])}
    >>> len(encode_update(jax.random.key(0), tree, 4))  # header 20, bits 1, range 8, codes 2
    31
    """
    layout, asked = _make_float32_layout(tree), _host_bit_widths(num_bits, tree, quantizer)
    check_tensors(tree)  # not their shapes
    check_options(quantizer, per_tensor=per_tensor, entropy_coding=entropy_coding)
    if per_tensor and jax.tree.structure(num_bits).num_nodes > 1:
        raise ValueError(
            f"num_bits must be one bit width if per_tensor splits it, got {num_bits!r}"
        )
    quantized = [bit_width for bit_width in asked if bit_width < FULL_PRECISION_BITS]
    dtype = code_dtype(MAX_BITS if per_tensor else max(quantized)) if quantized else None
    blocks = make_blocks(tree, layout)
    sender, bit_widths = find_quantizer(quantizer), np.array(asked, np.int32)
    grid, seed, codes = _quantize(key, blocks, bit_widths, layout, sender, per_tensor, dtype)
    lo, step, bit_widths, spread = (np.asarray(field) for field in grid)
    check_sendable(np.isfinite(spread), layout)
    return write_upload(
        layout,
        quantizer,
        bit_widths,
        lo,
        step,
        np.asarray(seed),
        codes,
        floats=blocks,
        entropy_coding=entropy_coding,
    )


def decode_update(message: bytes, like: PyTree) -> PyTree:
    """Returns the tree that the server reconstructs from a message.

    Args:
      message: from ``encode_update``.
      like: pytree with the structure, shapes and dtypes of the sender's tree (its values are not
        used).

    Raises:
      WireFormatError: a subclass of ValueError, for bytes that are not a message for this tree:
        ``ForeignMessageError``, ``VersionError``, ``TruncatedMessageError`` or
        ``DamagedMessageError``.
      ValueError: a tensor of ``like`` is not float32.

    Guarantees:
      The tree is finite, has the shapes of ``like`` and is bit-identical on every machine (except
      for subnormal numbers, which some machines flush to zero). A message with one flipped bit or
      a missing end is refused. A changed message with a valid checksum is either refused or decoded
      to other values; the result is never undefined.
    """
    layout = _make_float32_layout(like)
    fields = read_message(message, layout)
    if not layout.names:
        return like
    codes, floats = _read_codes(fields, layout)
    bit_widths = np.array(fields.bit_widths, np.int32)
    grid = Grid(*jax.device_put((fields.lo, fields.step, bit_widths, fields.step)))
    inverse = find_quantizer(fields.quantizer).inverse
    blocks = _reconstruct(codes, floats, grid, fields.seed, layout, inverse)
    flat = np.asarray(blocks).ravel()
    # Views, not slices on the device: on a CPU no byte is copied again.
    parts = [flat[part] for part in layout.tensor_slices()]
    for part, bit_width, name in zip(parts, fields.bit_widths, layout.names, strict=True):
        if bit_width == FULL_PRECISION_BITS and not np.isfinite(part).all():
            raise DamagedMessageError(f"tensor {name} holds a NaN or an infinity")
    leaves, treedef = jax.tree.flatten(like)
    shaped = [part.reshape(x.shape) for part, x in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(treedef, jax.device_put(shaped))


def _read_codes(fields: Message, layout: Layout) -> tuple[list[Array], Array | None]:
    """Returns the codes of each bit width, zero in other tensors, and float32 [R, 128] if any."""
    payload = find_quantizer(fields.quantizer).payload
    if payload is not None:
        own, entries = stream_to_codes(payload, fields.codes, layout, fields.bit_widths)
        return [jax.device_put(own)], jax.device_put(entries)
    coded = None
    stream, plain_bit_widths = fields.codes, fields.bit_widths
    if fields.is_coded:
        plain_bit_widths, stream, coded = decode_codes(stream, layout, fields.bit_widths)
    packed = stream_to_packed(stream, layout, plain_bit_widths)
    words = jax.device_put({b: _bytes_to_words(rows, b) for b, rows in packed.items()})
    floats = words.pop(FULL_PRECISION_BITS, None)
    codes = [unpack_codes(array, bit_width) for bit_width, array in words.items()]
    return codes + ([] if coded is None else [jax.device_put(coded)]), floats


@functools.partial(jax.jit, static_argnames=("layout", "quantizer", "per_tensor", "dtype"))
def _quantize(
    key: Key,
    blocks: Array,
    bit_widths: Array,
    layout: Layout,
    quantizer: Quantizer,
    per_tensor: bool,
    dtype: np.dtype | None,
) -> tuple[Grid, Array, Array | None]:
    """Returns grid, seed and codes of ``quantize``, the codes as ``dtype``."""
    num_bits = bit_widths[0] if per_tensor else [*bit_widths]
    upload = quantize(
        quantizer,
        key,
        blocks,
        _shapes(layout),
        num_bits,
        bits_per_tensor=per_tensor,
    )
    return upload.grid, upload.seed, None if dtype is None else upload.codes.astype(dtype)


@functools.partial(jax.jit, static_argnames=("layout", "inverse"))
def _reconstruct(
    codes: list[Array],
    floats: Array | None,
    grid: Grid,
    seed: Array,
    layout: Layout,
    inverse: Transform | None,
) -> Array:
    """Returns float32 [R, 128] from the codes of each bit width; they are zero in other tensors."""
    like = _shapes(layout)
    if not codes and floats is not None:
        return floats
    values = codes_to_blocks(functools.reduce(jnp.bitwise_or, codes), grid, like)
    values = values if inverse is None else inverse(seed, values, like)
    if floats is None:
        return values
    is_float = (grid.num_bits == FULL_PRECISION_BITS)[row_tensors(like), None]
    return jnp.where(is_float, floats, values)


def _shapes(layout: Layout) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct((size,), jnp.float32) for size in layout.sizes]


def _make_float32_layout(tree: PyTree) -> Layout:
    layout = make_layout(tree)
    for name, dtype in zip(layout.names, layout.dtypes, strict=True):
        if dtype != "float32":
            raise ValueError(f"tensor {name} is {dtype}; an upload carries float32")
    return layout


def _host_bit_widths(num_bits: PyTree, tree: PyTree, quantizer: str) -> list[int]:
    """Returns the bit width of each tensor, checked, and raised to the quantizer's smallest."""
    check_num_bits(num_bits)
    least = find_quantizer(quantizer).min_bits
    return [max(int(b), least) for b in list_num_bits(num_bits, tree)]


def _all_bit_widths(layout: Layout, quantizer: str) -> np.ndarray:
    """Returns ``BIT_WIDTHS`` for every tensor, int [17, L], raised to the quantizer's smallest."""
    raised = np.fmax(BIT_WIDTHS, find_quantizer(quantizer).min_bits)
    return np.repeat(raised[:, None], len(layout.sizes), axis=1)


def _bytes_to_words(rows: np.ndarray, bit_width: int) -> np.ndarray:
    """Returns packed rows, uint8 [n], as words [R, 128 b / W], or as float32 at b = 32 bits."""
    dtype = np.dtype(np.float32) if bit_width == FULL_PRECISION_BITS else word_dtype(bit_width)
    words = rows.view(dtype.newbyteorder("<")).astype(dtype, copy=False)
    return words.reshape(-1, ROW * bit_width // (8 * dtype.itemsize))
