"""Entropy coded codes in plain Python, with integers of any size, from the description alone.

``tables[j]`` are the 256 frequencies of tensor j.
"""

import bisect
import itertools
import struct

PLAIN = 0


def candidates(sizes, bit_widths):
    return [j for j, (n, b) in enumerate(zip(sizes, bit_widths, strict=True)) if n and b <= 8]


def write(bit_widths, codes, tables):
    """Returns what lies before the plain codes and what lies behind them."""
    head = bytes(
        sum(tables[j]).bit_length() - 1 if j in tables else PLAIN
        for j in candidates(map(len, codes), bit_widths)
    )
    alphabets = [[s for s in range(256) if tables[j][s]] for j in sorted(tables)]
    head += bytes(a[0] for a in alphabets) + bytes(a[-1] for a in alphabets)
    numbers = [
        f
        for j, a in zip(sorted(tables), alphabets, strict=True)
        for f in tables[j][a[0] : a[-1] + 1]
    ]
    bits = [f.bit_length() >> k & 1 for f in numbers for k in range(4)]
    bits += [f >> k & 1 for f in numbers for k in range(f.bit_length() - 1)]
    packed = sum(bit << k for k, bit in enumerate(bits)).to_bytes(-(-len(bits) // 8), "little")
    return head + packed, write_words(codes, tables)


def write_words(codes, tables):
    x, words = 0, []
    for j in sorted(tables, reverse=True):
        p, c = make_model(tables[j])
        for s in reversed(codes[j] if p is not None else []):
            if x >> 40 >= p[s]:
                words.append(x % 2**32)
                x >>= 32
            x = (x // p[s] << 24) + c[s] + x % p[s]
    while x:
        words.append(x % 2**32)
        x >>= 32
    return struct.pack(f"<{len(words)}I", *words)


def make_model(table):
    """Returns probabilities and their sums before each, in units of 2^-24; None if one is 1."""
    total = sum(table)
    p = [f * 2**24 // total for f in table]
    if max(p) == 2**24:
        return None, None
    return p, [0, *itertools.accumulate(p[:-1])]


def read_tables(rest, sizes, bit_widths):
    """Returns the tables and where they end; None for tables that are none."""
    names = candidates(sizes, bit_widths)
    precisions, position = rest[: len(names)], len(names)
    coded = [(j, m) for j, m in zip(names, precisions, strict=False) if m != PLAIN]
    position += 2 * len(coded)
    if len(rest) < position or max(precisions, default=0) > 14:
        return None, 0
    firsts = rest[len(names) : len(names) + len(coded)]
    lasts = rest[len(names) + len(coded) : position]
    if any(
        a > b or b >= 2 ** bit_widths[j] for (j, _), a, b in zip(coded, firsts, lasts, strict=True)
    ):
        return None, 0
    bits = "".join(f"{byte:08b}"[::-1] for byte in rest[position:])
    sizes_of_alphabets = [b - a + 1 for a, b in zip(firsts, lasts, strict=True)]
    at = 4 * sum(sizes_of_alphabets)
    if len(bits) < at:
        return None, 0
    lengths = [int(bits[k : k + 4][::-1], 2) for k in range(0, at, 4)]
    numbers = []
    for length in lengths:
        end = at + max(length - 1, 0)
        if end > len(bits):
            return None, 0
        numbers.append(int("1" + bits[at:end][::-1], 2) if length else 0)
        at = end
    if "1" in bits[at : -(-at // 8) * 8]:
        return None, 0
    tables = {}
    for (j, m), a, n in zip(coded, firsts, sizes_of_alphabets, strict=True):
        table, numbers = numbers[:n], numbers[n:]
        if sum(table) != 2**m or not table[0] or not table[-1]:
            return None, 0
        tables[j] = [0] * a + table + [0] * (256 - a - n)
    return tables, position + -(-at // 8)


def read_words(data, sizes, tables):
    """Returns the codes of the coded tensors, or None."""
    if len(data) % 4 or data[-4:] == bytes(4):
        return None
    words = list(struct.unpack(f"<{len(data) // 4}I", data))
    x = 0
    while words and x < 2**32:
        x = (x << 32) + words.pop()
    codes = {}
    for j in sorted(tables):
        p, c = make_model(tables[j])
        if p is None:
            codes[j] = [tables[j].index(max(tables[j]))] * sizes[j]
            continue
        codes[j] = []
        for _ in range(sizes[j]):
            q = x % 2**24
            s = bisect.bisect_right(c, q) - 1  # c[s] <= q < c[s] + p[s]
            codes[j].append(s)
            x = p[s] * (x >> 24) + q - c[s]
            if x < 2**32 and words:
                x = (x << 32) + words.pop()
    return codes if x == 0 and not words else None
