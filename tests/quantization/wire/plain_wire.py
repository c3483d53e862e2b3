"""The wire format in plain Python, entry by entry, from its description alone: the oracle.

A tree is a dict of flat names, in sorted order, as JAX flattens it.
"""

import math
import struct
import zlib
from typing import NamedTuple

import jax
import numpy as np

from fedjax_diffusion.quantization import tree_to_blocks
from fedjax_diffusion.quantization.rotation import rotate_back
from tests.quantization.wire import plain_entropy

LEGAL = (*range(1, 17), 32)
LEAST = {0: 1, 1: 1, 2: 2, 3: 1, 4: 32}
"""The least bit width of each quantizer: stochastic, nearest, qsgd, rotated, none."""
ROTATED = 3
OVERFLOW = 2.0**128 - 2.0**103
"""From here on a sum rounds to infinity in float32."""

jit_rotate_back = jax.jit(lambda seed, x: rotate_back(seed, tree_to_blocks(x), x))


class Fields(NamedTuple):
    """``codes[j][i]`` are integers, ``ranges[j]`` is (lo, step) or None.

    ``tables`` is None in a plain message, else the frequencies of each coded tensor by its number.
    """

    quantizer: int
    bit_widths: list
    seed: tuple
    ranges: list
    codes: list
    tables: dict | None


def start(tree, quantizer, is_coded):
    text = ";".join(f"['{name}']:{x.shape}:float32" for name, x in sorted(tree.items()))
    header = b"FJDQ" + bytes([3, quantizer, is_coded, 0])
    return header + struct.pack("<II", len(tree), zlib.crc32(text.encode()))


def seal(header, body):
    """Returns the message with the checksum that all its other bytes have."""
    return header[:16] + struct.pack("<I", zlib.crc32(header[:16] + body)) + body


def has_seed(quantizer, bit_widths):
    return quantizer == ROTATED and any(bit_width <= 16 for bit_width in bit_widths)


def write_stream(codes, bit_widths):
    """Returns plain codes: first the eights of all tensors, then what is left."""
    wholes = [(c, b) for x, b in zip(codes, bit_widths, strict=True) for c in x[: len(x) // 8 * 8]]
    lasts = [(c, b) for x, b in zip(codes, bit_widths, strict=True) for c in x[len(x) // 8 * 8 :]]
    stream = position = 0
    for code, num_bits in wholes + lasts:
        stream |= code << position
        position += num_bits
    return stream.to_bytes(math.ceil(position / 8), "little")


def read_stream(data, sizes, bit_widths):
    """Returns the codes, or None if bits are left that are not zero."""
    stream, codes = int.from_bytes(data, "little"), [[] for _ in sizes]
    for is_last in (False, True):
        for j, (size, bit_width) in enumerate(zip(sizes, bit_widths, strict=True)):
            for _ in range(size % 8 if is_last else size - size % 8):
                codes[j].append(stream % 2**bit_width)
                stream >>= bit_width
    return codes if stream == 0 else None


def stream_bytes(sizes, bit_widths):
    return math.ceil(sum(n * b for n, b in zip(sizes, bit_widths, strict=True)) / 8)


def write(tree, fields):
    quantizer, bit_widths, seed, ranges, codes, tables = fields
    body = bytes(bit_widths) + (
        struct.pack("<II", *seed) if has_seed(quantizer, bit_widths) else b""
    )
    body += b"".join(struct.pack("<ff", *r) for r in ranges if r is not None)
    if tables is None:
        body += write_stream(codes, bit_widths)
    else:
        plain = [[] if j in tables else x for j, x in enumerate(codes)]
        head, words = plain_entropy.write(bit_widths, codes, tables)
        rest = head + write_stream(plain, bit_widths) + words
        body += struct.pack("<I", len(rest)) + rest
    return seal(start(tree, quantizer, tables is not None), body)


def read(message, tree):
    """Returns the fields if the bytes are a message for the tree, else None."""
    sizes = [x.size for _, x in sorted(tree.items())]
    if len(message) < 20 + len(sizes) or message[5] not in LEAST or message[6] > 1:
        return None
    quantizer, is_coded, body = message[5], bool(message[6]), message[20:]
    bit_widths = list(body[: len(sizes)])
    if message[:16] != start(tree, quantizer, is_coded) or seal(message[:16], body) != message:
        return None
    if any(bit_width not in LEGAL or bit_width < LEAST[quantizer] for bit_width in bit_widths):
        return None
    is_sent = [n > 0 and b < 32 for n, b in zip(sizes, bit_widths, strict=True)]
    ranges_at = len(sizes) + 8 * has_seed(quantizer, bit_widths)
    rest_at = ranges_at + 8 * sum(is_sent)
    if len(body) < rest_at:
        return None
    seed = (0, 0)
    if has_seed(quantizer, bit_widths):
        seed = struct.unpack("<II", body[len(sizes) : ranges_at])
    pairs = struct.iter_unpack("<ff", body[ranges_at:rest_at])
    ranges = [next(pairs) if sent else None for sent in is_sent]
    if not all(
        is_range(pair, bit_width, quantizer)
        for pair, bit_width in zip(ranges, bit_widths, strict=True)
    ):
        return None
    codes, tables = read_codes(body[rest_at:], sizes, bit_widths, is_coded)
    fields = Fields(quantizer, bit_widths, seed, ranges, codes, tables)
    return fields if codes and all(np.isfinite(x).all() for x in values(tree, fields)) else None


def read_codes(rest, sizes, bit_widths, is_coded):
    """Returns codes, None if they are wrong, and the tables."""
    if not is_coded:
        is_long = len(rest) == stream_bytes(sizes, bit_widths)
        return (read_stream(rest, sizes, bit_widths) if is_long else None), None
    if len(rest) < 4 or len(rest) != 4 + struct.unpack("<I", rest[:4])[0]:
        return None, None
    tables, end = plain_entropy.read_tables(rest[4:], sizes, bit_widths)
    if tables is None:
        return None, None
    plain_sizes = [0 if j in tables else n for j, n in enumerate(sizes)]
    words_at = 4 + end + stream_bytes(plain_sizes, bit_widths)
    if len(rest) < words_at:
        return None, None
    codes = read_stream(rest[4 + end : words_at], plain_sizes, bit_widths)
    coded = plain_entropy.read_words(rest[words_at:], sizes, tables)
    if codes is None or coded is None:
        return None, None
    return [coded.get(j, x) for j, x in enumerate(codes)], tables


def is_range(pair, bit_width, quantizer):
    """Whether a quantizer of ``bit_width`` bits can have chosen (lo, step)."""
    if pair is None:
        return True
    (lo, step), growth = pair, 64 if quantizer == ROTATED else 1
    last = step * (2.0**bit_width - 1)
    most = max(growth * abs(lo), abs(last), growth * abs(lo + last))
    if not most < OVERFLOW or math.copysign(1, step) < 0:
        return False
    mantissa, exponent = math.frexp(step)
    return step == 0 or (exponent >= -125 and (mantissa * 2 ** (24 - bit_width)).is_integer())


def values(tree, fields):
    """Returns what a receiver reconstructs, float32 [n] per tensor."""
    tensors = []
    for bit_width, pair, x in zip(fields.bit_widths, fields.ranges, fields.codes, strict=True):
        codes_j = np.array(x, np.uint32)
        if bit_width == 32:
            tensors.append(codes_j.view(np.float32))
        else:
            lo, step = np.float32(pair or (0, 0))
            tensors.append(lo + step * codes_j.astype(np.float32))  # the product is exact
    if fields.quantizer == ROTATED and any(len(x) >= 64 for x in tensors):
        seed = np.array(fields.seed, np.uint32)
        flat = np.asarray(jit_rotate_back(seed, tensors)).ravel()
        starts = np.cumsum([0, *(-(-len(x) // 128) * 128 for x in tensors)])
        for j, x in enumerate(tensors):
            if fields.bit_widths[j] < 32:
                tensors[j] = flat[starts[j] : starts[j] + len(x)]
    return tensors
