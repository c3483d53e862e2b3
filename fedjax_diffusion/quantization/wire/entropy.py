"""Lossless entropy coding of codes, tensor by tensor, in fewer bits than their bit width.

The codes of a bell-shaped tensor are far from uniform. A tensor of bit width <= 8 is coded with the
frequencies of its own codes if that is shorter; the others stay plain. In an entropy coded message
these fields replace the plain codes, after a uint32 with their number of bytes (T tensors have
entries and a bit width <= 8, C of them are coded):

======  ===========  ==========================================================================
bytes   field        meaning
======  ===========  ==========================================================================
T       precisions   uint8 of each: 0, the tensor is plain; m in 1..14, its frequencies sum to 2^m
C, C    alphabets    uint8 each: the smallest and the largest code of each coded tensor
..      frequencies  of each code from smallest to largest, of each tensor, as one stream of bits,
                     least significant first: for all of them 4 bits, the bit length of f; then
                     for all of them f without its leading one; zeros to the end of the byte
..      plain codes  of all other tensors, as in a plain message
4 each  words        uint32, an ANS stack with all codes of the coded tensors, in order; the last
                     word is not zero
======  ===========  ==========================================================================

The receiver takes the last word and the word before it as the high and the low half of a state x (0
without words). For each entry of a tensor with more than one code, ``p_s = f_s 2^(24 - m)`` and
``c_s`` the sum of the ``p`` of smaller codes:

    s with c_s <= x mod 2^24 < c_s + p_s,   x <- p_s floor(x / 2^24) + x mod 2^24 - c_s,

and if then x < 2^32 and words are left, ``x <- 2^32 x + the last word left``. At the end x is 0 and
no word is left. Each step is reversible, so frequencies and codes have exactly one stack.

The coder is ``constriction``. It expects probabilities in floating point. It gets the integers
``p_s - 1``, whose sum and number of terms it scales by exactly 1: nothing is rounded, so both ends
have the same model. The sender uses floating point to choose the coded tensors; the receiver does
not need it.

Guarantees:
  A coded message is shorter than the plain one, else the plain one is sent. For n entries of a
  tensor with u different codes, the words take at most ``n (2^-8 / ln 2 - log2(1 - u / 2^m))`` bits
  more than its empirical entropy, and 8 bytes once.

Source: Duda 2015, "The use of asymmetric numeral systems as an accurate replacement for Huffman
coding"; the rounding of frequencies and their table are this project's own.
"""

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fedjax_diffusion.quantization.blocks import ROW
from fedjax_diffusion.quantization.wire.errors import check, check_last_bits
from fedjax_diffusion.quantization.wire.frequencies import (
    MAX_CODED_BITS,
    choose_frequencies,
    num_coded_bits,
    read_tables,
    write_tables,
)
from fedjax_diffusion.quantization.wire.layout import Layout

_PROBABILITY_BITS = 24
_WORD = np.dtype("<u4")


class CodedCodes(NamedTuple):
    """Codes of an entropy coded message.

    Attributes:
      plain_bit_widths: [L], bits of each tensor whose codes are plain; 0 for a coded one.
      tables: uint8 [n], precisions, alphabets and frequencies.
      words: uint8 [4 w], the stack.
    """

    plain_bit_widths: list[int]
    tables: np.ndarray
    words: np.ndarray


class DecodedCodes(NamedTuple):
    """Content of an entropy coded message.

    Attributes:
      plain_bit_widths: [L], bits of each tensor whose codes are plain; 0 for a coded one.
      stream: uint8 [n], the plain codes.
      codes: uint8 [R, 128], of the coded tensors; 0 elsewhere.
    """

    plain_bit_widths: list[int]
    stream: np.ndarray
    codes: np.ndarray


def check_entropy_coding() -> None:
    """Raises ValueError with the install command if ``constriction`` is missing."""
    _import_stream()


def encode_codes(codes: np.ndarray, layout: Layout, bit_widths: Sequence[int]) -> CodedCodes | None:
    """Returns the entropy coded codes; None if no tensor becomes smaller.

    Args:
      codes: uint8 or uint16 [R, 128], below ``2^bit_width``.
      layout: of the model.
      bit_widths: bits of each tensor.

    Raises:
      ValueError: the package ``constriction`` is missing.
    """
    ans = _import_stream()
    candidates = _candidates(layout, bit_widths)
    if not candidates:
        return None
    flat, slices = codes.reshape(-1), layout.tensor_slices()
    counts = np.stack(
        [np.bincount(flat[slices[j]], minlength=1 << MAX_CODED_BITS) for j in candidates]
    )
    bits = np.array([bit_widths[j] for j in candidates])
    frequencies, precisions = choose_frequencies(counts, bits)
    pays = num_coded_bits(counts, frequencies) < counts.sum(axis=1) * bits
    if not pays.any():
        return None
    coded = np.array(candidates)[pays].tolist()
    stack = ans.stack.AnsCoder()
    for j, tensor_frequencies in zip(coded[::-1], frequencies[pays][::-1], strict=True):
        used = np.flatnonzero(tensor_frequencies)
        if used.size > 1:
            ranks = np.zeros(tensor_frequencies.size, np.int32)
            ranks[used] = np.arange(used.size)
            model = _make_model(ans, tensor_frequencies[used])
            stack.encode_reverse(ranks[flat[slices[j]]], model)
    plain_bit_widths = _without(coded, bit_widths)
    tables = write_tables(frequencies[pays], np.where(pays, precisions, 0))
    words = stack.get_compressed().astype(_WORD, copy=False).view(np.uint8)
    return CodedCodes(plain_bit_widths, tables, words)


def decode_codes(rest: np.ndarray, layout: Layout, bit_widths: Sequence[int]) -> DecodedCodes:
    """Decodes the rest of an entropy coded message.

    Args:
      rest: uint8 [n], the rest of the message.
      layout: of the model.
      bit_widths: bits of each tensor.

    Raises:
      DamagedMessageError: bytes that no sender writes.
      ValueError: the package ``constriction`` is missing.

    Guarantees:
      The model bounds time and memory, for any bytes.
    """
    ans = _import_stream()
    candidates = _candidates(layout, bit_widths)
    bits = np.array([bit_widths[j] for j in candidates], np.int64)
    frequencies, precisions, tables_end = read_tables(rest, bits)
    coded = np.array(candidates, int)[precisions > 0].tolist()
    plain_bit_widths = _without(coded, bit_widths)
    num_plain_bits = layout.num_code_bits(plain_bit_widths)
    words_start = tables_end - (-num_plain_bits // 8)
    check(words_start <= rest.size, "the plain codes are cut off")
    stream = rest[tables_end:words_start]
    check_last_bits(stream, num_plain_bits)
    words = rest[words_start:]
    check(words.size % _WORD.itemsize == 0, "the words are cut off")
    words = words.view(_WORD).astype(np.uint32)
    check(not words.size or words[-1] > 0, "the last word must not be zero")
    codes = np.zeros(8 * layout.num_groups, np.uint8)
    stack, slices = ans.stack.AnsCoder(words), layout.tensor_slices()
    for j, tensor_frequencies in zip(coded, frequencies, strict=True):
        used = np.flatnonzero(tensor_frequencies).astype(np.uint8)
        if used.size > 1:
            model = _make_model(ans, tensor_frequencies[used])
            codes[slices[j]] = used[stack.decode(model, layout.sizes[j])]
        else:
            codes[slices[j]] = used[0]
    check(stack.is_empty(), "the words and the frequencies do not match")
    return DecodedCodes(plain_bit_widths, stream, codes.reshape(-1, ROW))


def _import_stream() -> Any:
    try:
        return importlib.import_module("constriction").stream
    except ImportError as error:
        raise ValueError(
            "entropy coding needs constriction: pip install -e '.[entropy]' in the project's folder"
        ) from error


def _candidates(layout: Layout, bit_widths: Sequence[int]) -> list[int]:
    return [
        j
        for j, (size, bit_width) in enumerate(zip(layout.sizes, bit_widths, strict=True))
        if size and bit_width <= MAX_CODED_BITS
    ]


def _without(coded: list[int], bit_widths: Sequence[int]) -> list[int]:
    """Returns the bit widths with 0 for the coded tensors."""
    plain_bit_widths = list(bit_widths)
    for j in coded:
        plain_bit_widths[j] = 0
    return plain_bit_widths


def _make_model(ans: Any, frequencies: np.ndarray) -> Any:
    """Returns the model with the exact probabilities ``f / sum f``; at least two f are > 0."""
    probabilities = frequencies * ((1 << _PROBABILITY_BITS) // frequencies.sum())
    return ans.model.Categorical((probabilities - 1).astype(np.float64), perfect=False)
