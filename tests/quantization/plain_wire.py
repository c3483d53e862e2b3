"""The wire format in plain Python, entry by entry, from its description alone: the oracle.

A tree is a dict of flat names, in sorted order, as JAX flattens it.
"""

import math
import struct
import zlib

import numpy as np

LEGAL = (*range(1, 17), 32)
OVERFLOW = 2.0**128 - 2.0**103
"""From here on a sum rounds to infinity in float32."""


def fingerprint(tree):
    text = ";".join(f"['{name}']:{x.shape}:float32" for name, x in sorted(tree.items()))
    return zlib.crc32(text.encode())


def seal(header, body):
    """Returns the message with the checksum that its body has."""
    return header[:16] + struct.pack("<I", zlib.crc32(body)) + body


def write(tree, levels, ranges, codes):
    """Returns the message of ``codes[j][i]``, integers; ``ranges[j]`` is (lo, step) or None."""
    header = b"FJDQ" + bytes([2, 0, 0, 0]) + struct.pack("<II", len(tree), fingerprint(tree))
    body = bytes(levels) + b"".join(struct.pack("<ff", *r) for r in ranges if r is not None)
    wholes = [(c, b) for x, b in zip(codes, levels, strict=True) for c in x[: len(x) // 8 * 8]]
    lasts = [(c, b) for x, b in zip(codes, levels, strict=True) for c in x[len(x) // 8 * 8 :]]
    stream = position = 0
    for code, num_bits in wholes + lasts:
        stream |= code << position
        position += num_bits
    return seal(header, body + stream.to_bytes(math.ceil(position / 8), "little"))


def read(message, tree):
    """Returns (levels, ranges, codes) if the bytes are a message for the tree, else None."""
    sizes = [x.size for _, x in sorted(tree.items())]
    start = b"FJDQ" + bytes([2, 0, 0, 0]) + struct.pack("<II", len(tree), fingerprint(tree))
    body, num_tensors = message[20:], len(sizes)
    if message[:16] != start or len(message) < 20 + num_tensors:
        return None
    levels = list(body[:num_tensors])
    if any(level not in LEGAL for level in levels):
        return None
    is_sent = [n > 0 and b < 32 for n, b in zip(sizes, levels, strict=True)]
    num_codes = sum(n * b for n, b in zip(sizes, levels, strict=True))
    first_code = num_tensors + 8 * sum(is_sent)
    if len(body) != first_code + math.ceil(num_codes / 8):
        return None
    if message[16:20] != struct.pack("<I", zlib.crc32(body)):
        return None
    pairs = struct.iter_unpack("<ff", body[num_tensors:first_code])
    ranges = [next(pairs) if sent else None for sent in is_sent]
    stream = int.from_bytes(body[first_code:], "little")
    codes = [[] for _ in sizes]
    for is_last in (False, True):
        for j, (size, level) in enumerate(zip(sizes, levels, strict=True)):
            for _ in range(size % 8 if is_last else size - size % 8):
                codes[j].append(stream % 2**level)
                stream >>= level
    is_legal = stream == 0 and all(map(is_range, ranges, levels))
    fields = levels, ranges, codes
    return fields if is_legal and all(np.isfinite(x).all() for x in values(*fields)) else None


def is_range(pair, level):
    """Whether a quantizer of ``level`` bits can have chosen (lo, step)."""
    if pair is None:
        return True
    lo, step = pair
    last = step * (2.0**level - 1)
    if not max(abs(lo), abs(last), abs(lo + last)) < OVERFLOW or math.copysign(1, step) < 0:
        return False
    mantissa, exponent = math.frexp(step)
    return step == 0 or (exponent >= -125 and (mantissa * 2 ** (24 - level)).is_integer())


def values(levels, ranges, codes):
    """Returns what a receiver reconstructs, float32 [n] per tensor."""
    tensors = []
    for level, pair, x in zip(levels, ranges, codes, strict=True):
        codes_j = np.array(x, np.uint32)
        if level == 32:
            tensors.append(codes_j.view(np.float32))
        else:
            lo, step = np.float32(pair or (0, 0))
            tensors.append(lo + step * codes_j.astype(np.float32))  # the product is exact
    return tensors
