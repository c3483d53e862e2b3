"""The bytes of one upload, version 2: header, levels, ranges and codes.

Little endian, no padding but in the very last byte (L tensors, n_j entries at b_j bits):

======  ===========  ==========================================================================
bytes   field        meaning
======  ===========  ==========================================================================
4       magic        ``b"FJDQ"``
1       version      2
3       reserved     zero
4       num_tensors  L, uint32
4       fingerprint  CRC-32 of the tree's paths, shapes and dtypes: both ends must hold the same
                     model
4       checksum     CRC-32 of everything after the header
L       levels       bits of each tensor, uint8: 1..16, or 32
8 each  ranges       ``lo, step`` as float32, for each tensor that has entries and a level of at
                     most 16; ``step`` is 0, or positive and normal with 24 - b significant bits;
                     ``lo + step (2^b - 1)`` is finite
rest    codes        of each tensor in order, C order within, b bits each, least significant bit
                     first: its first ``n - n mod 8`` codes, which fill ``b (n // 8)`` bytes; then,
                     as ONE stream of bits, the last ``n mod 8`` codes of each tensor; zeros to the
                     end of the byte. At level 32 a code is the pattern of a finite float32
======  ===========  ==========================================================================

A message has ``20 + L + 8 #ranges + ceil(sum_j n_j b_j / 8)`` bytes. For given levels, ranges and
codes there is exactly one message.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedjax_diffusion.quantization.layout import Layout
from fedjax_diffusion.quantization.stochastic import FLOAT_BITS, LEVELS, MAX_BITS

_MAGIC = b"FJDQ"
_VERSION = 2
_HEADER = struct.Struct("<4sB3sIII")
_RESERVED = bytes(3)
_RANGE = np.dtype("<f4")
_RANGE_BYTES = 2 * _RANGE.itemsize


class WireFormatError(ValueError):
    """Bytes that are no message for this tree; always one of the four kinds below."""


class ForeignMessageError(WireFormatError):
    """No upload at all, or one that was made for another model."""


class VersionError(WireFormatError):
    """An upload in another version of the format."""


class TruncatedMessageError(WireFormatError):
    """Fewer bytes than the header and the levels announce."""


class DamagedMessageError(WireFormatError):
    """A wrong checksum, bytes too many, or a field that no sender writes."""


class Message(NamedTuple):
    """What the bytes say.

    Attributes:
      levels: [L], bits of each tensor.
      lo: float32 [L], 0 where no range is sent.
      step: float32 [L], 0 where no range is sent.
      codes: uint8 [n], the stream of codes; a view of the message.
    """

    levels: list[int]
    lo: np.ndarray
    step: np.ndarray
    codes: np.ndarray


def num_overhead_bytes(layout: Layout, levels: Sequence[int]) -> int:
    """Returns the bytes of a message that are not codes."""
    return _HEADER.size + len(levels) + _RANGE_BYTES * int(_has_range(layout, levels).sum())


def num_message_bytes(layout: Layout, levels: Sequence[int]) -> int:
    """Returns the bytes of a message."""
    return num_overhead_bytes(layout, levels) - (-layout.num_code_bits(levels) // 8)


def write_message(
    layout: Layout,
    levels: Sequence[int],
    lo: np.ndarray,
    step: np.ndarray,
    codes: Sequence[np.ndarray],
) -> bytes:
    """Returns the message; ``codes`` are the pieces of the stream, see ``packed_to_stream``."""
    ranges = np.stack([lo, step], axis=1)[_has_range(layout, levels)].astype(_RANGE)
    pieces = [bytes(levels), ranges.tobytes(), *(piece.data for piece in codes)]
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    header = (_MAGIC, _VERSION, _RESERVED, len(levels), layout.fingerprint, checksum)
    return b"".join([_HEADER.pack(*header), *pieces])


def read_message(message: bytes, layout: Layout) -> Message:
    """Checks a message in full and returns its fields.

    Raises:
      WireFormatError: one of its four kinds; the message says which field is wrong.
    """
    checksum = _read_header(message, layout)
    body = np.frombuffer(message, np.uint8)[_HEADER.size :]
    levels = body[: len(layout.sizes)].tolist()
    if len(levels) < len(layout.sizes):
        raise TruncatedMessageError(
            f"the message ends after {len(levels)} of {len(layout.sizes)} levels"
        )
    if not set(levels) <= set(LEVELS):
        raise DamagedMessageError(f"levels must be 1..16 or 32, got {sorted(set(levels))}")
    num_bytes = num_message_bytes(layout, levels)
    if len(message) < num_bytes:
        raise TruncatedMessageError(f"{len(message)} bytes of a message of {num_bytes}")
    if len(message) > num_bytes:
        raise DamagedMessageError(f"{len(message)} bytes for a message of {num_bytes}")
    if zlib.crc32(body.data) != checksum:
        raise DamagedMessageError("the checksum does not match")
    has_range = _has_range(layout, levels)
    start = len(levels)
    stop = start + _RANGE_BYTES * int(has_range.sum())
    lo, step = np.zeros((2, len(levels)), np.float32)
    lo[has_range], step[has_range] = body[start:stop].view(_RANGE).reshape(-1, 2).T
    _check_ranges(lo, step, levels)
    codes = body[stop:]
    used_bits = layout.num_code_bits(levels) % 8
    if used_bits and codes[-1] >> used_bits:
        raise DamagedMessageError("the bits after the last code must be zero")
    return Message(levels, lo, step, codes)


def _read_header(message: bytes, layout: Layout) -> int:
    """Checks the header, in an order that names the cause, and returns the checksum."""
    if not _MAGIC.startswith(message[: len(_MAGIC)]):
        raise ForeignMessageError(
            f"an upload starts with {_MAGIC!r}, this starts with {message[: len(_MAGIC)]!r}"
        )
    if len(message) > len(_MAGIC) and message[len(_MAGIC)] != _VERSION:
        raise VersionError(
            f"version {message[len(_MAGIC)]} of the format; this is version {_VERSION}"
        )
    if len(message) < _HEADER.size:
        raise TruncatedMessageError(f"{len(message)} bytes of a header of {_HEADER.size}")
    _, _, reserved, num_tensors, fingerprint, checksum = _HEADER.unpack_from(message)
    if reserved != _RESERVED:
        raise DamagedMessageError(f"the reserved bytes must be zero, got {reserved!r}")
    if num_tensors != len(layout.sizes):
        raise ForeignMessageError(
            f"the message has {num_tensors} tensors, this model {len(layout.sizes)}"
        )
    if fingerprint != layout.fingerprint:
        raise ForeignMessageError("the message was made for another model: names or shapes differ")
    return checksum


def last_values(lo: np.ndarray, step: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    """Returns ``lo + step (2^b - 1)``, float32 [L]; infinite if it or the product overflows."""
    last_codes = np.exp2(np.minimum(levels, MAX_BITS)) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        return lo + step * last_codes.astype(np.float32)


def _check_ranges(lo: np.ndarray, step: np.ndarray, levels: Sequence[int]) -> None:
    """Raises unless every range is one that the quantizer can have made, to the bit."""
    if not np.isfinite(last_values(lo, step, levels)).all():
        raise DamagedMessageError("a range is not finite")
    word = step.view(np.uint32)
    is_coarse = word % (1 << np.minimum(levels, MAX_BITS)) == 0
    is_normal = step >= np.finfo(np.float32).tiny
    if not ((word == 0) | (is_coarse & is_normal)).all():
        raise DamagedMessageError(
            "a step must be 0, or positive and normal with 24 - level significant bits"
        )


def _has_range(layout: Layout, levels: Sequence[int]) -> np.ndarray:
    """Returns bool [L]: the tensor's values are quantized, so its range is sent."""
    return (np.array(layout.sizes, int) > 0) & (np.array(levels, int) < FLOAT_BITS)
