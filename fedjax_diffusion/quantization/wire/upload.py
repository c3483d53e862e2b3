"""The message of a quantized upload: its codes as bits, entropy coded if that is shorter.

``encode_update`` and senders with existing codes write their messages here.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS
from fedjax_diffusion.quantization.quantizers import check_options, find_quantizer
from fedjax_diffusion.quantization.wire.entropy import encode_codes
from fedjax_diffusion.quantization.wire.layout import Layout, packed_to_stream
from fedjax_diffusion.quantization.wire.message import is_range_held, message_bytes, write_message
from fedjax_diffusion.quantization.wire.own_payload import codes_to_stream
from fedjax_diffusion.quantization.wire.packing import pack_codes
from fedjax_diffusion.types import Array


def write_upload(
    layout: Layout,
    quantizer: str,
    bit_widths: Sequence[int] | np.ndarray,
    lo: np.ndarray,
    step: np.ndarray,
    seed: np.ndarray,
    codes: np.ndarray | Array | None,
    *,
    floats: np.ndarray | Array | None = None,
    entropy_coding: bool = False,
) -> bytes:
    """Returns the message of an upload that ``quantize`` has quantized.

    Args:
      layout: of the model.
      quantizer: name of the quantizer.
      bit_widths: int [L], bits of each tensor.
      lo: float32 [L], ``grid.lo``.
      step: float32 [L], ``grid.step``.
      seed: uint32 [2]; read if the quantizer has one.
      codes: uint8 or uint16 [R, 128], below ``2^bit_width``; ignored, or None, at bit width 32.
      floats: float32 [R, 128], finite, values of tensors with bit width 32; None if there is none.
      entropy_coding: whether codes are entropy coded if that is shorter.

    Raises:
      ValueError: a bit width or an option that the quantizer does not have, a range that overflows
        float32, or missing codes or floats.
    """
    sent, least = np.asarray(bit_widths).tolist(), find_quantizer(quantizer).min_bits
    allowed = [bit_width for bit_width in BIT_WIDTHS if bit_width >= least]
    if not {*sent} <= {*allowed}:
        raise ValueError(f"bit widths of {quantizer!r} must be of {allowed}, got {sorted({*sent})}")
    if floats is None and FULL_PRECISION_BITS in sent:
        raise ValueError(f"floats must be given if a bit width is {FULL_PRECISION_BITS}, got None")
    if codes is None and min(sent, default=FULL_PRECISION_BITS) < FULL_PRECISION_BITS:
        raise ValueError(
            f"codes must be given if a bit width is below {FULL_PRECISION_BITS}, got None"
        )
    step = np.where(np.asarray(bit_widths) < FULL_PRECISION_BITS, step, np.float32(0))
    check_sendable(is_range_held(lo, step, bit_widths, quantizer), layout)
    head = layout, quantizer, sent, lo, step, seed
    check_options(quantizer, per_tensor=False, entropy_coding=entropy_coding)
    if (payload := find_quantizer(quantizer).payload) is not None:
        # A missing array is not read: no tensor has its bit width.
        hosted, entries = np.asarray(codes), np.asarray(floats)
        return write_message(*head, [codes_to_stream(payload, hosted, entries, layout, sent)])
    if entropy_coding and codes is not None:
        coded = encode_codes(np.asarray(codes), layout, sent)
        if coded is not None:
            plain = _pack(codes, floats, layout, coded.plain_bit_widths)
            pieces = [coded.tables, *plain, coded.words]
            message = write_message(*head, pieces, is_coded=True)
            if len(message) < message_bytes(layout, sent, quantizer):
                return message
    return write_message(*head, _pack(codes, floats, layout, sent))


def check_sendable(is_sendable: np.ndarray, layout: Layout) -> None:
    """Raises ValueError with the name of the first tensor that is not sendable, bool [L]."""
    for j in np.flatnonzero(~is_sendable).tolist():
        raise ValueError(
            f"tensor {layout.names[j]} cannot be sent: "
            "it has a NaN, an infinity or a range above float32"
        )


def _pack(
    codes: np.ndarray | Array | None,
    floats: np.ndarray | Array | None,
    layout: Layout,
    bit_widths: list[int],
) -> list[np.ndarray]:
    """Returns the plain codes as pieces, uint8 [n] each; bit width 0 has none."""
    # All transfers start before the first one is waited for.
    words: dict[int, np.ndarray | Array | None] = {FULL_PRECISION_BITS: floats}
    if quantized := {*bit_widths} - {0, FULL_PRECISION_BITS}:
        ready = jnp.asarray(codes)
        words |= {bit_width: pack_codes(ready, bit_width) for bit_width in quantized}
    packed = {
        bit_width: _words_to_bytes(np.asarray(words[bit_width]))
        for bit_width in {*bit_widths} - {0}
    }
    return packed_to_stream(packed, layout, bit_widths)


def _words_to_bytes(words: np.ndarray) -> np.ndarray:
    """Returns an array's bytes, little endian, uint8 [n]."""
    return words.astype(words.dtype.newbyteorder("<"), copy=False).view(np.uint8).ravel()
