"""The wire format in plain Python, entry by entry, from its description alone: the oracle.

A tree is a dict of flat names, in sorted order, as JAX flattens it.
"""

import math
import struct
import zlib
from typing import NamedTuple

import numpy as np

from fedjax_diffusion.quantization import tree_to_blocks
from fedjax_diffusion.quantization.rotation import rotate_back
from tests.quantization.wire import plain_entropy

LEGAL = (*range(1, 17), 32)
LEAST = {0: 1, 1: 1, 2: 2, 3: 1, 4: 32}
"""The least level of each scheme: stochastic, nearest, qsgd, rotated, none."""
ROTATED = 3
OVERFLOW = 2.0**128 - 2.0**103
"""From here on a sum rounds to infinity in float32."""


class Fields(NamedTuple):
    """``codes[j][i]`` are integers, ``ranges[j]`` is (lo, step) or None.

    ``tables`` is None in a plain message, else the frequencies of each coded tensor by its number.
    """

    scheme: int
    levels: list
    seed: tuple
    ranges: list
    codes: list
    tables: dict | None


def start(tree, scheme, is_coded):
    text = ";".join(f"['{name}']:{x.shape}:float32" for name, x in sorted(tree.items()))
    header = b"FJDQ" + bytes([3, scheme, is_coded, 0])
    return header + struct.pack("<II", len(tree), zlib.crc32(text.encode()))


def seal(header, body):
    """Returns the message with the checksum that all its other bytes have."""
    return header[:16] + struct.pack("<I", zlib.crc32(header[:16] + body)) + body


def has_seed(scheme, levels):
    return scheme == ROTATED and any(level <= 16 for level in levels)


def write_stream(codes, levels):
    """Returns plain codes: first the eights of all tensors, then what is left."""
    wholes = [(c, b) for x, b in zip(codes, levels, strict=True) for c in x[: len(x) // 8 * 8]]
    lasts = [(c, b) for x, b in zip(codes, levels, strict=True) for c in x[len(x) // 8 * 8 :]]
    stream = position = 0
    for code, num_bits in wholes + lasts:
        stream |= code << position
        position += num_bits
    return stream.to_bytes(math.ceil(position / 8), "little")


def read_stream(data, sizes, levels):
    """Returns the codes, or None if bits are left that are not zero."""
    stream, codes = int.from_bytes(data, "little"), [[] for _ in sizes]
    for is_last in (False, True):
        for j, (size, level) in enumerate(zip(sizes, levels, strict=True)):
            for _ in range(size % 8 if is_last else size - size % 8):
                codes[j].append(stream % 2**level)
                stream >>= level
    return codes if stream == 0 else None


def stream_bytes(sizes, levels):
    return math.ceil(sum(n * b for n, b in zip(sizes, levels, strict=True)) / 8)


def write(tree, fields):
    scheme, levels, seed, ranges, codes, tables = fields
    body = bytes(levels) + (struct.pack("<II", *seed) if has_seed(scheme, levels) else b"")
    body += b"".join(struct.pack("<ff", *r) for r in ranges if r is not None)
    if tables is None:
        body += write_stream(codes, levels)
    else:
        plain = [[] if j in tables else x for j, x in enumerate(codes)]
        head, words = plain_entropy.write(levels, codes, tables)
        rest = head + write_stream(plain, levels) + words
        body += struct.pack("<I", len(rest)) + rest
    return seal(start(tree, scheme, tables is not None), body)


def read(message, tree):
    """Returns the fields if the bytes are a message for the tree, else None."""
    sizes = [x.size for _, x in sorted(tree.items())]
    if len(message) < 20 + len(sizes) or message[5] not in LEAST or message[6] > 1:
        return None
    scheme, is_coded, body = message[5], bool(message[6]), message[20:]
    levels = list(body[: len(sizes)])
    if message[:16] != start(tree, scheme, is_coded) or seal(message[:16], body) != message:
        return None
    if any(level not in LEGAL or level < LEAST[scheme] for level in levels):
        return None
    is_sent = [n > 0 and b < 32 for n, b in zip(sizes, levels, strict=True)]
    ranges_at = len(sizes) + 8 * has_seed(scheme, levels)
    rest_at = ranges_at + 8 * sum(is_sent)
    if len(body) < rest_at:
        return None
    seed = (0, 0)
    if has_seed(scheme, levels):
        seed = struct.unpack("<II", body[len(sizes) : ranges_at])
    pairs = struct.iter_unpack("<ff", body[ranges_at:rest_at])
    ranges = [next(pairs) if sent else None for sent in is_sent]
    if not all(is_range(pair, level, scheme) for pair, level in zip(ranges, levels, strict=True)):
        return None
    codes, tables = read_codes(body[rest_at:], sizes, levels, is_coded)
    fields = Fields(scheme, levels, seed, ranges, codes, tables)
    return fields if codes and all(np.isfinite(x).all() for x in values(tree, fields)) else None


def read_codes(rest, sizes, levels, is_coded):
    """Returns codes, None if they are wrong, and the tables."""
    if not is_coded:
        is_long = len(rest) == stream_bytes(sizes, levels)
        return (read_stream(rest, sizes, levels) if is_long else None), None
    if len(rest) < 4 or len(rest) != 4 + struct.unpack("<I", rest[:4])[0]:
        return None, None
    tables, end = plain_entropy.read_tables(rest[4:], sizes, levels)
    if tables is None:
        return None, None
    plain_sizes = [0 if j in tables else n for j, n in enumerate(sizes)]
    words_at = 4 + end + stream_bytes(plain_sizes, levels)
    if len(rest) < words_at:
        return None, None
    codes = read_stream(rest[4 + end : words_at], plain_sizes, levels)
    coded = plain_entropy.read_words(rest[words_at:], sizes, tables)
    if codes is None or coded is None:
        return None, None
    return [coded.get(j, x) for j, x in enumerate(codes)], tables


def is_range(pair, level, scheme):
    """Whether a quantizer of ``level`` bits can have chosen (lo, step)."""
    if pair is None:
        return True
    (lo, step), growth = pair, 64 if scheme == ROTATED else 1
    last = step * (2.0**level - 1)
    most = max(growth * abs(lo), abs(last), growth * abs(lo + last))
    if not most < OVERFLOW or math.copysign(1, step) < 0:
        return False
    mantissa, exponent = math.frexp(step)
    return step == 0 or (exponent >= -125 and (mantissa * 2 ** (24 - level)).is_integer())


def values(tree, fields):
    """Returns what a receiver reconstructs, float32 [n] per tensor."""
    tensors = []
    for level, pair, x in zip(fields.levels, fields.ranges, fields.codes, strict=True):
        codes_j = np.array(x, np.uint32)
        if level == 32:
            tensors.append(codes_j.view(np.float32))
        else:
            lo, step = np.float32(pair or (0, 0))
            tensors.append(lo + step * codes_j.astype(np.float32))  # the product is exact
    if fields.scheme == ROTATED and any(len(x) >= 64 for x in tensors):
        seed = np.array(fields.seed, np.uint32)
        flat = np.asarray(rotate_back(seed, tree_to_blocks(tensors), tensors)).ravel()
        starts = np.cumsum([0, *(-(-len(x) // 128) * 128 for x in tensors)])
        for j, x in enumerate(tensors):
            if fields.levels[j] < 32:
                tensors[j] = flat[starts[j] : starts[j] + len(x)]
    return tensors
