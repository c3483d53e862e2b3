"""Frequencies of codes, as integers that sum to a power of two, and their table in a message.

The table's bytes are described in ``entropy``. With counts k_s of n codes, u of them different,

    f_s = 1 + (a rounded share k_s / n of 2^m - u) >= 2^m (1 - u / 2^m) k_s / n,

so that coding with the f takes at most ``-log2(1 - u / 2^m)`` bits per entry above the entropy.
"""

import numpy as np

from fedjax_diffusion.quantization.wire.errors import check, check_last_bits

MAX_CODED_BITS = 8
"""The largest bit width whose codes are entropy coded."""
MAX_PRECISION = 14
"""The largest m: f and its bit length fit 4 + 14 bits."""
_SPARE_PRECISION = 2
"""Bits by which frequencies are coarser than counts, so that tables are small beside the codes."""
_LENGTH_BITS = 4
_ALPHABET_BITS = 16


def choose_frequencies(counts: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns frequencies, int64 [T, 256], and the m of ``2^m = sum f``, int64 [T].

    Each code that occurs gets 1; the rest is divided by cumulative shares, rounded down.

    Args:
      counts: int64 [T, 256], number of occurrences of each code; no tensor is empty.
      bits: int [T], bit widths of at most 8; ``2^m`` is never below the number of codes.

    >>> counts = np.zeros((1, 256), int)
    >>> counts[0, :3] = 100, 27, 1
    >>> [x.tolist() for x in choose_frequencies(counts, np.array([2]))][1]
    [6]
    """
    totals = counts.sum(axis=1)
    num_bits = np.frexp(totals.astype(np.float64))[1]
    precisions = np.clip(num_bits - _SPARE_PRECISION, bits, MAX_PRECISION).astype(np.int64)
    occurs = counts > 0
    left = (1 << precisions) - occurs.sum(axis=1)
    shares = np.cumsum(counts, axis=1) * left[:, None] // totals[:, None]
    return occurs + np.diff(shares, axis=1, prepend=0), precisions


def num_coded_bits(counts: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Returns the bits of each tensor if it is coded, with its table, float64 [T].

    Args:
      counts: int64 [T, 256].
      frequencies: int64 [T, 256], above 0 if the count is.
    """
    information = np.log2(frequencies.sum(axis=1))[:, None] - np.log2(np.fmax(frequencies, 1))
    first, last = _alphabets(frequencies)
    numbers = np.fmax(_bit_lengths(frequencies) - 1, 0).sum(axis=1)
    table = _ALPHABET_BITS + _LENGTH_BITS * (last - first + 1) + numbers
    return (counts * information).sum(axis=1) + table


def write_tables(frequencies: np.ndarray, precisions: np.ndarray) -> np.ndarray:
    """Returns the tables, uint8 [n].

    Args:
      frequencies: int64 [C, 256], of the tensors with ``m > 0``.
      precisions: int64 [T], the m of each tensor; 0 for a plain one.
    """
    first, last = _alphabets(frequencies)
    numbers = frequencies[_is_within(first, last)]
    lengths = _bit_lengths(numbers)
    length_bits = lengths[:, None] >> np.arange(_LENGTH_BITS)[None, :] & 1
    number_bits = (numbers[:, None] >> np.arange(MAX_PRECISION)[None, :] & 1)[_is_sent(lengths)]
    bits = np.concatenate([length_bits.ravel(), number_bits]).astype(np.uint8)
    heads = np.concatenate([precisions, first, last]).astype(np.uint8)
    return np.concatenate([heads, np.packbits(bits, bitorder="little")])


def read_tables(rest: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns frequencies [C, 256], precisions [T] and the number of bytes read.

    Args:
      rest: uint8 [n], begins with the tables of ``write_tables``.
      bits: int [T], bit widths of at most 8.

    Raises:
      DamagedMessageError: the tables are cut off or invalid.
    """
    precisions = rest[: len(bits)].astype(np.int64)
    check(precisions.size == len(bits), "the precisions are cut off")
    check(precisions.max(initial=0) <= MAX_PRECISION, f"a precision must be 0..{MAX_PRECISION}")
    is_coded = precisions > 0
    position = len(bits) + 2 * int(is_coded.sum())
    check(position <= rest.size, "the alphabets are cut off")
    first, last = rest[len(bits) : position].reshape(2, -1).astype(np.int64)
    is_alphabet = (first <= last) & (last < 1 << bits[is_coded])
    check(is_alphabet.all(), "an alphabet must lie in its bit width")
    is_within = _is_within(first, last)
    numbers, num_bytes = _read_numbers(rest[position:], int(is_within.sum()))
    frequencies = np.zeros(is_within.shape, np.int64)
    frequencies[is_within] = numbers
    rows = np.arange(len(first))
    has_ends = (frequencies[rows, first] > 0) & (frequencies[rows, last] > 0)
    is_whole = has_ends & (frequencies.sum(axis=1) == 1 << precisions[is_coded])
    check(is_whole.all(), "frequencies must sum to 2^precision and not be 0 at the ends")
    return frequencies, precisions, position + num_bytes


def _read_numbers(stream: np.ndarray, num_numbers: int) -> tuple[np.ndarray, int]:
    """Returns numbers, int64 [S], and the number of bytes read."""
    most_bits = num_numbers * (_LENGTH_BITS + MAX_PRECISION)
    table = np.unpackbits(stream[: -(-most_bits // 8)], bitorder="little")
    start = num_numbers * _LENGTH_BITS
    check(start <= table.size, "the lengths of the frequencies are cut off")
    lengths = table[:start].reshape(-1, _LENGTH_BITS) @ (1 << np.arange(_LENGTH_BITS))
    is_sent = _is_sent(lengths)
    end = start + int(is_sent.sum())
    check(end <= table.size, "the frequencies are cut off")
    num_bytes = -(-end // 8)
    check_last_bits(stream[:num_bytes], end)
    bits = np.zeros(is_sent.shape, np.int64)
    bits[is_sent] = table[start:end]
    leading = (lengths > 0) * (1 << np.fmax(lengths - 1, 0))
    return leading + bits @ (1 << np.arange(MAX_PRECISION)), num_bytes


def _alphabets(frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest and the largest code of each tensor, int64 [C] each."""
    occurs = frequencies > 0
    return occurs.argmax(axis=1), occurs.shape[1] - 1 - occurs[:, ::-1].argmax(axis=1)


def _is_within(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns whether each code is in the alphabet of each tensor, bool [C, 256]."""
    code = np.arange(1 << MAX_CODED_BITS)[None, :]
    return (first[:, None] <= code) & (code <= last[:, None])


def _bit_lengths(numbers: np.ndarray) -> np.ndarray:
    return np.frexp(numbers.astype(np.float64))[1]


def _is_sent(lengths: np.ndarray) -> np.ndarray:
    """Returns whether each bit of numbers with bit lengths [S] is in the table, bool [S, 14]."""
    return np.arange(MAX_PRECISION)[None, :] < (lengths - 1)[:, None]
