"""Codes of a message in the form of its quantizer's own ``Payload``, as one stream of bits.

The tensors follow each other in their order: the bits of ``pack``, or at bit width 32 the patterns
of the float32 entries, least significant bit first; zeros to the end of the byte.
"""

import numpy as np

from fedjax_diffusion.bits import FULL_PRECISION_BITS
from fedjax_diffusion.quantization.blocks import ROW
from fedjax_diffusion.quantization.quantizer import Payload
from fedjax_diffusion.quantization.wire.errors import DamagedMessageError
from fedjax_diffusion.quantization.wire.layout import Layout

_PATTERN = np.dtype("<f4")


def count_code_bits(payload: Payload | None, layout: Layout, bit_widths: np.ndarray) -> np.ndarray:
    """Returns the bits of the codes of messages, int64 [...].

    Args:
      payload: form of the codes; None: b bits per entry.
      layout: of the model.
      bit_widths: int [..., L], sent bits of each tensor.
    """
    sizes = layout.size_array()
    if payload is None:
        return bit_widths @ sizes
    is_float = bit_widths == FULL_PRECISION_BITS
    counted = payload.count_bits(sizes, np.where(is_float, 1, bit_widths))
    return np.where(is_float, FULL_PRECISION_BITS * sizes, counted).sum(axis=-1, dtype=np.int64)


def codes_to_stream(
    payload: Payload,
    codes: np.ndarray,
    floats: np.ndarray,
    layout: Layout,
    bit_widths: list[int],
) -> np.ndarray:
    """Returns the last field of a message, uint8 [n].

    Args:
      payload: form of the codes.
      codes: int [R, 128], of tensors of at most 16 bits.
      floats: float32 [R, 128], of tensors of bit width 32.
      layout: of the model.
      bit_widths: sent bits of each tensor.
    """
    parts = [np.zeros(0, bool)]
    for part, bit_width in zip(layout.tensor_slices(), bit_widths, strict=True):
        if bit_width == FULL_PRECISION_BITS:
            pattern = np.ravel(floats)[part].astype(_PATTERN).view(np.uint8)
            parts.append(np.unpackbits(pattern, bitorder="little").astype(bool))
        else:
            parts.append(payload.pack(np.ravel(codes)[part].astype(np.int64), bit_width))
    return np.packbits(np.concatenate(parts), bitorder="little")


def stream_to_codes(
    payload: Payload, stream: np.ndarray, layout: Layout, bit_widths: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes, uint16 [R, 128], and float32 [R, 128]; each is 0 in tensors of the other.

    Raises:
      DamagedMessageError: ``unpack`` refuses the bits, or makes codes that are out of range.
    """
    bits = np.unpackbits(stream, bitorder="little").astype(bool)
    num_entries = 8 * layout.num_groups
    codes, floats = np.zeros(num_entries, np.uint16), np.zeros(num_entries, np.float32)
    position = 0
    for part, size, name, bit_width in zip(
        layout.tensor_slices(), layout.sizes, layout.names, bit_widths, strict=True
    ):
        is_float = bit_width == FULL_PRECISION_BITS
        widths = np.array([1 if is_float else bit_width])
        length = bit_width * size if is_float else payload.count_bits(np.array([size]), widths)[0]
        own, position = bits[position : position + length], position + length
        if is_float:
            floats[part] = np.packbits(own, bitorder="little").view(_PATTERN)
            continue
        try:
            unpacked = np.asarray(payload.unpack(own, size, bit_width))
        except (ValueError, IndexError) as error:
            raise DamagedMessageError(f"codes of tensor {name}: {error}") from None
        is_in = (unpacked >= 0) & (unpacked < 2**bit_width)
        if unpacked.shape != (size,) or not is_in.all():
            raise DamagedMessageError(f"codes of tensor {name} must be {size} of {bit_width} bits")
        codes[part] = unpacked
    return codes.reshape(-1, ROW), floats.reshape(-1, ROW)
