"""The bytes of one upload, version 3: header, bit widths, seed, ranges and codes.

Little endian, padding only in the last byte (L tensors, n_j entries at b_j bits):

======  ===========  ==========================================================================
bytes   field        meaning
======  ===========  ==========================================================================
4       magic        ``b"FJDQ"``
1       version      3
1       quantizer    the quantizer's ``wire_number``
1       flags        bit 0: the codes are entropy coded; the others zero
1       reserved     zero
4       num_tensors  L, uint32
4       fingerprint  CRC-32 of the tree's paths, shapes and dtypes: both ends must hold the same
                     model
4       checksum     CRC-32 of all other bytes
..      signature    of a quantizer that a user has registered (number 255): uint8 length of its
                     name, the name, and the first 8 bytes of the SHA-256 of its source
L       bit widths   bits of each tensor, uint8: 1..16, or 32; none below the quantizer's smallest
8       seed         two uint32, if the quantizer has a seed and a bit width is at most 16
8 each  ranges       ``lo, step`` as float32, for each tensor that has entries and a bit width of at
                     most 16; ``step`` is 0, or positive and normal with 24 - b significant bits;
                     ``lo`` and ``lo + step (2^b - 1)`` are finite, also times ``max_summed``: the
                     inverse of the rotation adds 64 of them
rest    codes        of each tensor in order, C order within, b bits each, least significant bit
                     first: its first ``n - n mod 8`` codes, which fill ``b (n // 8)`` bytes; then,
                     as ONE stream of bits, the last ``n mod 8`` codes of each tensor; zeros to the
                     end of the byte. At bit width 32 a code is the pattern of a finite float32.
                     Entropy coded: see ``entropy``; of a quantizer with a payload of its own: see
                     ``own_payload``
======  ===========  ==========================================================================

A plain message has ``20 + L + 8 #ranges + ceil(sum_j n_j b_j / 8)`` bytes, 8 more with a seed, and
the signature's if there is one.
For given quantizer, bit widths, seed, ranges and codes there is exactly one plain message.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS, MAX_BITS
from fedjax_diffusion.quantization.float32 import SMALLEST_NORMAL
from fedjax_diffusion.quantization.quantizers import find_quantizer
from fedjax_diffusion.quantization.wire.errors import (
    DamagedMessageError,
    ForeignMessageError,
    TruncatedMessageError,
    VersionError,
    check_last_bits,
)
from fedjax_diffusion.quantization.wire.layout import Layout
from fedjax_diffusion.quantization.wire.own_payload import count_code_bits
from fedjax_diffusion.quantization.wire.signature import find_sender

_MAGIC = b"FJDQ"
_VERSION = 3
_HEADER = struct.Struct("<4sBBBBIII")
_CHECKSUM_AT = 16
_CODED = 1
_RANGE = np.dtype("<f4")
_RANGE_BYTES = 2 * _RANGE.itemsize
_SEED = np.dtype("<u4")
_REST_SIZE = struct.Struct("<I")


class Message(NamedTuple):
    """Fields of a message.

    Attributes:
      quantizer: name of the quantizer.
      bit_widths: [L], bits of each tensor.
      lo: float32 [L], 0 if no range is sent.
      step: float32 [L], 0 if no range is sent.
      seed: uint32 [2], 0 if none is sent.
      is_coded: whether the codes are entropy coded.
      codes: uint8 [n], the rest of the message; a view of it.
    """

    quantizer: str
    bit_widths: list[int]
    lo: np.ndarray
    step: np.ndarray
    seed: np.ndarray
    is_coded: bool
    codes: np.ndarray


def message_bytes(
    layout: Layout, bit_widths: np.ndarray | Sequence[int], quantizer: str
) -> np.ndarray:
    """Returns the bytes of plain messages, int64 [...], for any split of bits.

    Args:
      layout: of the model.
      bit_widths: int [..., L], sent bits of each tensor: none below the quantizer's smallest.
      quantizer: name of the quantizer.
    """
    bit_widths = np.asarray(bit_widths, np.int64)
    return num_overhead_bytes(layout, bit_widths, quantizer) - (
        -count_code_bits(find_quantizer(quantizer).payload, layout, bit_widths) // 8
    )


def num_overhead_bytes(
    layout: Layout, bit_widths: np.ndarray | Sequence[int], quantizer: str
) -> np.ndarray:
    """Returns the bytes of messages that are not codes, int64 [...]; see ``message_bytes``."""
    bit_widths = np.asarray(bit_widths, np.int64)
    seeds = _num_seed_bytes(quantizer) * (bit_widths < FULL_PRECISION_BITS).any(axis=-1)
    ranges = _RANGE_BYTES * _has_range(layout, bit_widths).sum(axis=-1, dtype=np.int64)
    signature = len(find_quantizer(quantizer).signature)
    return _HEADER.size + signature + bit_widths.shape[-1] + seeds + ranges


def write_message(
    layout: Layout,
    quantizer: str,
    bit_widths: Sequence[int],
    lo: np.ndarray,
    step: np.ndarray,
    seed: np.ndarray,
    codes: Sequence[np.ndarray],
    *,
    is_coded: bool = False,
) -> bytes:
    """Returns the message; ``codes`` are the pieces of its last field, to be joined."""
    ranges = np.stack([lo, step], axis=1)[_has_range(layout, bit_widths)].astype(_RANGE)
    has_seed = (
        _num_seed_bytes(quantizer)
        and min(bit_widths, default=FULL_PRECISION_BITS) < FULL_PRECISION_BITS
    )
    signature = find_quantizer(quantizer).signature
    head = [
        signature,
        bytes(bit_widths),
        seed.astype(_SEED).tobytes() if has_seed else b"",
        ranges.tobytes(),
    ]
    if is_coded:
        head.append(_REST_SIZE.pack(sum(piece.size for piece in codes)))
    pieces = [*head, *(piece.data for piece in codes)]
    flags = _CODED if is_coded else 0
    start = (
        _MAGIC,
        _VERSION,
        find_quantizer(quantizer).wire_number,
        flags,
        0,
        len(bit_widths),
        layout.fingerprint,
    )
    checksum = zlib.crc32(_HEADER.pack(*start, 0)[:_CHECKSUM_AT])
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return b"".join([_HEADER.pack(*start, checksum), *pieces])


def read_message(message: bytes, layout: Layout) -> Message:
    """Checks a message, except entropy coded codes, and returns its fields.

    Raises:
      WireFormatError: one of its four subclasses; the error names the wrong field.
    """
    quantizer, is_coded, checksum = _read_header(message, layout)
    start = _HEADER.size + len(find_quantizer(quantizer).signature)
    body = np.frombuffer(message, np.uint8)[start:]
    bit_widths = body[: len(layout.sizes)].tolist()
    if len(bit_widths) < len(layout.sizes):
        raise TruncatedMessageError(
            f"the message ends after {len(bit_widths)} of {len(layout.sizes)} bit widths"
        )
    if not set(bit_widths) <= set(BIT_WIDTHS):
        raise DamagedMessageError(f"bit widths must be 1..16 or 32, got {sorted(set(bit_widths))}")
    num_bytes = _announced_bytes(message, layout, bit_widths, quantizer, is_coded)
    if len(message) < num_bytes:
        raise TruncatedMessageError(f"{len(message)} bytes of a message of {num_bytes}")
    if len(message) > num_bytes:
        raise DamagedMessageError(f"{len(message)} bytes for a message of {num_bytes}")
    rest = memoryview(message)[_HEADER.size :]
    if zlib.crc32(rest, zlib.crc32(message[:_CHECKSUM_AT])) != checksum:
        raise DamagedMessageError("the checksum does not match")
    least = find_quantizer(quantizer).min_bits
    if min(bit_widths, default=FULL_PRECISION_BITS) < least:
        raise DamagedMessageError(
            f"bit widths of quantizer {quantizer!r} must be at least {least}, got {min(bit_widths)}"
        )
    codes_at = int(num_overhead_bytes(layout, bit_widths, quantizer)) - start
    has_range = _has_range(layout, bit_widths)
    ranges_at = codes_at - _RANGE_BYTES * int(has_range.sum())
    seed = np.zeros(2, np.uint32)
    if ranges_at > len(bit_widths):
        seed[:] = body[len(bit_widths) : ranges_at].view(_SEED)
    lo, step = np.zeros((2, len(bit_widths)), np.float32)
    lo[has_range], step[has_range] = body[ranges_at:codes_at].view(_RANGE).reshape(-1, 2).T
    _check_ranges(lo, step, bit_widths, quantizer)
    codes = body[codes_at + _REST_SIZE.size * is_coded :]
    if not is_coded:
        payload = find_quantizer(quantizer).payload
        check_last_bits(
            codes, int(count_code_bits(payload, layout, np.asarray(bit_widths, np.int64)))
        )
    return Message(quantizer, bit_widths, lo, step, seed, is_coded, codes)


def is_range_held(
    lo: np.ndarray, step: np.ndarray, bit_widths: Sequence[int] | np.ndarray, quantizer: str
) -> np.ndarray:
    """Returns whether the receiver's values are finite for all codes, bool [L].

    Args:
      lo: float32 [L].
      step: float32 [L], 0 at bit width 32.
      bit_widths: int [L].
      quantizer: name of the quantizer.
    """
    last_codes = (np.exp2(np.minimum(bit_widths, MAX_BITS)) - 1).astype(np.float32)
    growth = np.float32(find_quantizer(quantizer).max_summed)
    with np.errstate(over="ignore", invalid="ignore"):
        last = lo + step * last_codes
        return np.isfinite(growth * lo) & np.isfinite(growth * last)


def _read_header(message: bytes, layout: Layout) -> tuple[str, bool, int]:
    """Returns quantizer, is_coded and checksum of the header; checks it, the likely cause first."""
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
    _, _, number, flags, reserved, num_tensors, fingerprint, checksum = _HEADER.unpack_from(message)
    # Not damage: newer senders may have more quantizers, and the rest cannot be read without
    # knowing them.
    name = find_sender(number, message[_HEADER.size :])
    if flags & ~_CODED or reserved:
        raise DamagedMessageError(
            f"flags must be 0 or 1 and the reserved byte zero, got {flags} and {reserved}"
        )
    if num_tensors != len(layout.sizes):
        raise ForeignMessageError(
            f"the message has {num_tensors} tensors, this model {len(layout.sizes)}"
        )
    if fingerprint != layout.fingerprint:
        raise ForeignMessageError("the message was made for another model: names or shapes differ")
    return name, bool(flags), checksum


def _announced_bytes(
    message: bytes, layout: Layout, bit_widths: Sequence[int], quantizer: str, is_coded: bool
) -> int:
    """Returns the message's length from its fields; a lower bound if it ends before them."""
    if not is_coded:
        return int(message_bytes(layout, bit_widths, quantizer))
    start = int(num_overhead_bytes(layout, bit_widths, quantizer))
    if len(message) < start + _REST_SIZE.size:
        return start + _REST_SIZE.size
    return start + _REST_SIZE.size + _REST_SIZE.unpack_from(message, start)[0]


def _check_ranges(
    lo: np.ndarray, step: np.ndarray, bit_widths: Sequence[int], quantizer: str
) -> None:
    """Raises DamagedMessageError unless a quantizer can have made every range, to the bit."""
    if not is_range_held(lo, step, bit_widths, quantizer).all():
        raise DamagedMessageError("a range is not finite")
    word = step.view(np.uint32)
    is_coarse = word % (1 << np.minimum(np.asarray(bit_widths, np.int64), MAX_BITS)) == 0
    is_normal = step >= SMALLEST_NORMAL
    if not ((word == 0) | (is_coarse & is_normal)).all():
        raise DamagedMessageError(
            "a step must be 0, or positive and normal with 24 - bit width significant bits"
        )


def _has_range(layout: Layout, bit_widths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns whether a tensor is quantized, so that its range is sent, bool [..., L]."""
    return (layout.size_array() > 0) & (np.asarray(bit_widths, np.int64) < FULL_PRECISION_BITS)


def _num_seed_bytes(quantizer: str) -> int:
    return find_quantizer(quantizer).extra_overhead_bits // 8
