"""TFRecord files, read and checked without TensorFlow.

A file is a chain of records: the length (uint64, little endian), its masked CRC-32C, the data,
their masked CRC-32C.

Source: TensorFlow, ``lib/io/record_writer.h``; CRC-32C (Castagnoli): RFC 3720, appendix B.4.
"""

import functools
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reflected
_BLOCK = 1024
"""Bytes per pass: its tables, 1 MiB, fit into the second-level cache of a core."""


def read_tfrecords(path: Path, num_records: int, start: int, stop: int) -> Iterator[bytes]:
    """Yields records ``start`` to ``stop - 1`` of a file.

    Args:
      path: the file.
      num_records: the number of records it must hold.
      start: in 0..stop.
      stop: at most ``num_records``; if equal, the file must end there.

    Raises:
      ValueError: the file holds fewer or more records, ends within one, or a checksum is wrong.
        The message begins with "it" or "record"; the caller puts the file's name before it.
      OSError: the file cannot be read.
    """
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        for number in range(stop):
            header = file.read(12)
            if len(header) < 12:
                raise ValueError(f"it ends after {number} of {num_records} records")
            length, checksum = struct.unpack("<QI", header)
            if mask(crc32c(header[:8])) != checksum:
                raise ValueError(f"record {number} is damaged: the checksum of its length is wrong")
            position += 16 + length
            if position > size:
                raise ValueError(f"it ends within record {number} of {num_records}")
            if number < start:
                file.seek(position)
                continue
            data = file.read(length)
            (checksum,) = struct.unpack("<I", file.read(4))
            if mask(crc32c(data)) != checksum:
                raise ValueError(f"record {number} is damaged: its checksum is wrong")
            yield data
    if stop == num_records and position != size:
        raise ValueError(f"it has more data after its {num_records} records")


def mask(checksum: int) -> int:
    """Returns a CRC-32C as TFRecord files store it: rotated right by 15 bits, plus a constant.

    >>> hex(mask(0))
    '0xa282ead8'
    """
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Returns the CRC-32C of ``data``.

    The checksum is linear over GF(2): a block's checksum is the exclusive or of one contribution
    per byte, which depends on its distance from the end. So a block is one look-up and one
    reduction.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    state, start = 0xFFFFFFFF, len(data) % _BLOCK
    tables, rows = _tables()
    if start < 64:  # for few bytes, such as the length of a record, one by one is faster
        for byte in data[:start]:
            state = int(tables[(state ^ byte) & 0xFF]) ^ (state >> 8)
    ends = range(start if start >= 64 else start + _BLOCK, len(data) + 1, _BLOCK)
    values = np.frombuffer(data, np.uint8)
    for end in ends:
        begin = max(0, end - _BLOCK)
        places = rows[begin - end :] + values[begin:end]
        # The register is added to the first four bytes.
        places[:4] ^= np.frombuffer(struct.pack("<I", state), np.uint8)
        state = int(np.bitwise_xor.reduce(tables[places]))
    return state ^ 0xFFFFFFFF


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Returns the contribution of a byte to the register, and the rows of a block's bytes.

    Returns:
      uint32 [_BLOCK * 256]: row d, column b is the contribution of byte b, d bytes later.
      int [_BLOCK]: the start of each byte's row; the last byte of a block is last.
    """
    tables = np.empty((_BLOCK, 256), np.uint32)
    state = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        state = np.where(state & 1, state >> 1 ^ np.uint32(_POLYNOMIAL), state >> 1)
    for row in tables:
        row[:] = state
        state = tables[0][state & 0xFF] ^ (state >> 8)
    return tables.ravel(), np.arange(_BLOCK - 1, -1, -1, dtype=np.intp) * 256
