"""Entropy coded codes: nothing is lost, and they take what the entropy says."""

import itertools
import struct
import sys

import jax
import numpy as np
import pytest

from fedjax_diffusion.quantization import DamagedMessageError, decode_update, encode_update
from fedjax_diffusion.quantization.wire.entropy import decode_codes, encode_codes
from fedjax_diffusion.quantization.wire.frequencies import (
    MAX_PRECISION,
    choose_frequencies,
    num_coded_bits,
    read_tables,
    write_tables,
)
from fedjax_diffusion.quantization.wire.layout import make_layout
from fedjax_diffusion.quantization.wire.message import message_bytes
from fedjax_diffusion.quantization.wire.upload import write_upload
from tests.each import check_each
from tests.quantization.wire import plain_entropy, plain_wire

SIZES = (0, 1, 2, 7, 64, 65, 129, 1000, 3000)
NO_SEED = np.zeros(2, np.uint32)
BITS_ABOVE = 2.0**-8 / np.log(2)
"""One step of the stack: its state is at least 2^8 p, so rounding adds log2(1 + 2^-8) at most."""
NUM_ENTRIES = 20_000
"""Of all updates that are encoded."""


def shapes(sizes):
    return [jax.ShapeDtypeStruct((n,), np.float32) for n in sizes]


def draw_codes(kind, rng, n, bit_width):
    last = 2**bit_width - 1
    match kind:
        case "uniform":
            return rng.integers(0, last + 1, n)
        case "constant":
            return np.full(n, last // 3)
        case "two":
            return last * (rng.uniform(size=n) < 0.1)
        case "bell":
            return np.clip(np.rint(rng.normal(0.3 * last, last / 8, n)), 0, last)
        case "rare":  # one code nearly always, another once
            return np.where(np.arange(n) == n // 2, last, 0)


def make_codes(kind, sizes, bit_widths, seed=0):
    """Returns uint16 [R, 128] and the same as lists of integers."""
    rng = np.random.default_rng(seed)
    layout = make_layout(shapes(sizes))
    codes = np.zeros(8 * layout.num_groups, np.uint16)
    for part, size, bit_width in zip(layout.tensor_slices(), sizes, bit_widths, strict=True):
        codes[part] = draw_codes(kind, rng, size, min(bit_width, 16))
    plain = [codes[part].tolist() for part in layout.tensor_slices()]
    return layout, codes.reshape(-1, 128), plain


def test_nothing_is_lost_and_the_plain_reader_reads_the_same():
    def check(kind, bit_width):
        bit_widths = [bit_width] * len(SIZES)
        layout, codes, expected = make_codes(kind, SIZES, bit_widths)
        coded = encode_codes(codes, layout, bit_widths)
        if bit_width > 8:
            assert coded is None
            return
        assert kind == "uniform" or coded is not None
        if coded is None:
            return
        is_coded = [b == 0 for b in coded.plain_bit_widths]
        plain = [[] if c else x for c, x in zip(is_coded, expected, strict=True)]
        stream = np.frombuffer(plain_wire.write_stream(plain, bit_widths), np.uint8)
        rest = np.concatenate([coded.tables, stream, coded.words])
        decoded = decode_codes(rest, layout, bit_widths)
        assert decoded.plain_bit_widths == coded.plain_bit_widths
        assert decoded.stream.tobytes() == stream.tobytes()
        for j, part in enumerate(layout.tensor_slices()):
            assert decoded.codes.ravel()[part].tolist() == (
                expected[j] if is_coded[j] else [0] * SIZES[j]
            )
        tables, end = plain_entropy.read_tables(rest.tobytes(), SIZES, bit_widths)
        assert (end, sorted(tables)) == (len(coded.tables), np.flatnonzero(is_coded).tolist())
        assert plain_entropy.read_words(coded.words.tobytes(), SIZES, tables) == {
            j: expected[j] for j in tables
        }

    check_each(
        itertools.product(["uniform", "constant", "two", "bell", "rare"], [*range(1, 10), 16]),
        check,
    )


def test_frequencies_keep_every_code_and_cost_what_is_said():
    """``-log2(1 - u / 2^m)`` bits an entry above the entropy, at most."""

    def check(num_codes, size):
        rng = np.random.default_rng(num_codes)
        counts = np.zeros((3, 256), np.int64)
        used = np.sort(rng.choice(256, num_codes, replace=False))
        counts[0, used] = 1
        counts[0, used[-1]] += size - num_codes
        counts[1, used] = size // num_codes
        counts[2, used] = np.fmax(size * rng.dirichlet(np.ones(num_codes)), 1)
        bit_widths = np.array([8, 8, 8])
        frequencies, precisions = choose_frequencies(counts, bit_widths)
        assert ((frequencies > 0) == (counts > 0)).all()
        assert (frequencies.sum(axis=1) == 1 << precisions).all()
        assert precisions.min() >= 8
        assert precisions.max() <= MAX_PRECISION
        share = counts[:, used] / counts.sum(axis=1, keepdims=True)
        entropy = -(share * np.log2(share)).sum(axis=1)
        cross = -(share * np.log2(frequencies[:, used] / 2.0 ** precisions[:, None])).sum(axis=1)
        room = 1 - num_codes / 2.0**precisions
        assert (cross >= entropy - 1e-9).all()
        assert (cross[room > 0] <= (entropy - np.log2(np.fmax(room, 1e-9)) + 1e-9)[room > 0]).all()
        head = write_tables(frequencies, precisions)
        again, same, end = read_tables(head, bit_widths)
        assert (again == frequencies).all()
        assert (same == precisions).all()
        assert end == head.size
        tables = (
            8 * (head.size - 3)
            - (num_coded_bits(counts, frequencies) - cross * counts.sum(1)).sum()
        )
        assert -1e-3 * size <= tables <= 7 + 1e-3 * size

    check_each(itertools.product([2, 3, 16, 255, 256], [300, 16384, 2**40]), check)


def histogram_entropy(codes, bit_width):
    share = np.bincount(np.ravel(codes), minlength=2**bit_width) / np.size(codes)
    return -(share[share > 0] * np.log2(share[share > 0])).sum()


def test_a_large_tensor_takes_its_entropy_and_a_table():
    def check(bit_width, kind):
        num_entries = 40_000
        layout, codes, _ = make_codes(kind, (num_entries,), [bit_width])
        coded = encode_codes(codes, layout, [bit_width])
        exact = num_entries * histogram_entropy(codes.ravel()[:num_entries], bit_width)
        num_codes = len(np.unique(codes.ravel()[:num_entries]))
        above = BITS_ABOVE - np.log2(1 - num_codes / 2.0 ** coded.tables[0])
        assert exact - 64 <= 8 * coded.words.size <= exact + num_entries * above + 64
        assert coded.tables.size <= 3 + (18 * 2**bit_width + 7) // 8
        assert above <= 0.04

    check_each(itertools.product(range(1, 9), ["bell", "two"]), check)


@pytest.mark.parametrize("num_bits", [2, 4, 8])
def test_an_update_of_normal_numbers_saves_what_its_entropy_says(num_bits):
    """At 4 bits a quarter: a normal tensor of this size spans 8 sigma, 0.53 sigma a step."""
    num_entries = NUM_ENTRIES
    tree = {"w": np.float32(np.random.default_rng(0).normal(size=num_entries))}
    key = jax.random.key(0)
    plain = encode_update(key, tree, num_bits)
    coded = encode_update(key, tree, num_bits, entropy_coding=True)
    codes = plain_wire.read(plain, tree).codes[0]
    entropy = histogram_entropy(codes, num_bits)
    assert len(plain) == 29 + num_entries * num_bits // 8
    excess = len(coded) - 29 - num_entries * entropy / 8
    above = BITS_ABOVE - np.log2(1 - 2**num_bits / 2.0**13)
    assert -8 <= excess <= 4 + 8 + num_entries * above / 8 + 3 + 18 * 2**num_bits / 8 + 1
    # The entropy of a sum of the normal and the rounding, of variance step^2 / 6, between cells.
    values = decode_update(plain, tree)["w"]
    step = float(values.max() - values.min()) / (2**num_bits - 1)
    normal = np.log2(np.sqrt(2 * np.pi * np.e) / step)
    sigma = np.sqrt(0.5 / num_entries) / np.log(2)  # of the mean of x^2 / 2 in bits
    if step < 1:
        assert normal - 5 * sigma <= entropy <= normal + np.log2(1 + step**2 / 6) / 2 + 5 * sigma
    assert len(coded) <= 0.8 * len(plain) or num_bits == 8


def test_what_does_not_get_shorter_is_sent_plain():
    bit_widths = [8, 3]
    layout, codes, _ = make_codes("uniform", (200, 50), bit_widths)
    ones = np.ones(2, np.float32)
    write = lambda layout, codes, bit_widths, **options: write_upload(  # noqa: E731
        layout, "nearest", bit_widths, ones, ones, NO_SEED, codes, **options
    )
    assert write(layout, codes, bit_widths, entropy_coding=True) == write(layout, codes, bit_widths)
    for size in range(1, 80):  # around the size where a constant tensor begins to pay
        layout, codes, _ = make_codes("constant", (size, 0), [2, 2])
        plain, coded = (write(layout, codes, [2, 2], entropy_coding=e) for e in (False, True))
        assert len(plain) == message_bytes(layout, [2, 2], "nearest")
        assert coded == plain if coded[6] == 0 else len(coded) < len(plain)
    assert coded[6] == 1


def test_a_message_without_the_package_says_what_to_install(monkeypatch):
    tree, key = {"w": np.zeros(NUM_ENTRIES, np.float32)}, jax.random.key(0)
    coded = encode_update(key, tree, 4, entropy_coding=True)
    monkeypatch.setitem(sys.modules, "constriction", None)
    for attempt in (
        lambda: encode_update(key, tree, 4, entropy_coding=True),
        lambda: decode_update(coded, tree),
    ):
        with pytest.raises(
            ValueError, match=r"pip install -e '.\[entropy\]' in the project's folder$"
        ) as caught:
            attempt()
        assert not isinstance(caught.value, DamagedMessageError)
    assert encode_update(key, tree, 4)


BIT_WIDTHS = [2, 2, 3]
TENSORS = (100, 20, 9)


def make_rest():
    """A message by hand: f = 6, 1, 0, 1 of 8 for the first tensor, the others plain."""
    rng = np.random.default_rng(0)
    first = rng.choice([0, 1, 3], 100, p=[0.75, 0.125, 0.125]).tolist()
    codes = [first, rng.integers(0, 4, 20).tolist(), rng.integers(0, 8, 9).tolist()]
    table = [6, 1, 0, 1] + [0] * 252
    head, words = plain_entropy.write(BIT_WIDTHS, codes, {0: table})
    return codes, head, plain_wire.write_stream([[], *codes[1:]], BIT_WIDTHS), words


CODES, HEAD, STREAM, WORDS = make_rest()


def swap(data, i, *values):
    return data[:i] + bytes(values) + data[i + len(values) :]


def test_a_message_by_hand():
    """Precisions 3, 0, 0; codes 0..3; lengths 3, 1, 0, 1 in 4 bits each; 6 without its 4."""
    assert bytes([3, 0, 0, 0, 3, 0x13, 0x10, 0b10]) == HEAD
    rest = np.frombuffer(HEAD + STREAM + WORDS, np.uint8)
    decoded = decode_codes(rest, make_layout(shapes(TENSORS)), BIT_WIDTHS)
    assert decoded.codes[0, :100].tolist() == CODES[0]
    assert decoded.stream.tobytes() == STREAM


WRONG = {  # cause: (bytes, what is said)
    "nothing": (b"", "^the precisions are cut off$"),
    "precision": (swap(HEAD, 0, 15) + STREAM + WORDS, r"^a precision must be 0\.\.14$"),
    "no alphabets": (HEAD[:4], "^the alphabets are cut off$"),
    "turned": (swap(HEAD, 3, 3, 0) + STREAM + WORDS, "^an alphabet must lie in its bit width$"),
    "wide": (swap(HEAD, 4, 4) + STREAM + WORDS, "^an alphabet must lie in its bit width$"),
    "no lengths": (HEAD[:6], "^the lengths of the frequencies are cut off$"),
    "no numbers": (swap(HEAD, 5, 0xFF, 0xFF)[:7], "^the frequencies are cut off$"),
    "after them": (swap(HEAD, 7, 0b110) + STREAM + WORDS, "the last code must be zero$"),
    "sum": (swap(HEAD, 7, 0b11) + STREAM + WORDS, r"must sum to 2\^precision"),
    "other sum": (swap(HEAD, 0, 4) + STREAM + WORDS, r"must sum to 2\^precision"),
    "no end": (swap(HEAD, 5, 0x14, 0x00, 0) + STREAM + WORDS, "and not be 0 at the ends$"),
    "no stream": (HEAD + STREAM[:-1], "^the plain codes are cut off$"),
    "last bits": (HEAD + swap(STREAM, 8, 0xFF) + WORDS, "the last code must be zero$"),
    "half a word": (HEAD + STREAM + WORDS[:-2], "^the words are cut off$"),
    "zero word": (HEAD + STREAM + WORDS + bytes(4), "^the last word must not be zero$"),
    "a word less": (HEAD + STREAM + WORDS[4:], "words and the frequencies do not match$"),
    "a word more": (HEAD + STREAM + b"abcd" + WORDS, "words and the frequencies do not match$"),
    "words alone": (bytes(3) + plain_wire.write_stream(CODES, BIT_WIDTHS) + WORDS, "do not match$"),
}


@pytest.mark.parametrize("cause", WRONG)
def test_what_is_wrong_is_said(cause):
    data, match = WRONG[cause]
    rest = np.frombuffer(data, np.uint8)
    with pytest.raises(DamagedMessageError, match=match):
        decode_codes(rest, make_layout(shapes(TENSORS)), BIT_WIDTHS)


def test_an_announced_size_is_not_believed():
    """No memory is taken for what a message only claims to hold."""
    tree = {"w": np.zeros(NUM_ENTRIES, np.float32)}
    message = encode_update(jax.random.key(0), tree, 4, entropy_coding=True)
    at = 20 + 1 + 8
    for size in (0, 2**31, 2**32 - 1):
        body = message[20:at] + struct.pack("<I", size) + message[at + 4 :]
        with pytest.raises(ValueError, match="bytes"):
            decode_update(plain_wire.seal(message[:20], body), tree)
