"""More than 20,000 broken messages, and 8,000 with ``slow``: refused by name, or else read.

What is read is exactly what the plain reader reads.

A checksum keeps out accidents, not forgers: any caller damages a message and sets the checksum
right has written another message. What is promised of those: the decoder accepts precisely what the
plain reader accepts, returns the values that reader returns, all finite, in the shapes that were
asked for; and no two messages say the same.
"""

import collections
import functools
import struct
import zlib

import numpy as np
import pytest

from fedjax_diffusion.quantization import (
    DamagedMessageError,
    ForeignMessageError,
    TruncatedMessageError,
    VersionError,
    decode_update,
)
from tests.quantization.wire import plain_wire
from tests.quantization.wire.messages import (
    CODED_LIKE,
    CODED_SHAPES,
    LIKE,
    SHAPES,
    coded_messages,
    other_messages,
    plain_messages,
)

KINDS = {DamagedMessageError, ForeignMessageError, TruncatedMessageError, VersionError}
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))]


def outcome(message, like=LIKE):
    """Decodes; returns the kind of error that came, or None after checking what was accepted."""
    try:
        decoded = decode_update(message, like)
    except tuple(KINDS) as error:
        return type(error)
    fields = plain_wire.read(message, like)
    assert fields is not None
    assert plain_wire.write(like, fields) == message
    for name, value in zip(sorted(like), plain_wire.values(like, fields), strict=True):
        x = np.asarray(decoded[name])
        assert x.shape == like[name].shape
        np.testing.assert_array_equal(flush(x.ravel()), flush(value))
        assert np.isfinite(x).all()
    return None


def flush(x):
    """A device may take numbers below the smallest normal one for zero."""
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, 0, x)


def test_the_messages_themselves_are_accepted():
    for message in plain_messages():
        assert outcome(message) is None
    for message in other_messages():
        assert outcome(message) is ForeignMessageError
    for message in coded_messages():
        assert outcome(message, CODED_LIKE) is None
        assert message[6] == 1


BOTH = {"plain": (plain_messages, LIKE), "coded": (coded_messages, CODED_LIKE)}


@pytest.mark.parametrize(("make", "like"), BOTH.values(), ids=BOTH)
def test_every_single_flipped_bit(make, like):
    for message in make():
        for bit in range(8 * len(message)):
            damaged = bytearray(message)
            damaged[bit // 8] ^= 1 << bit % 8
            assert outcome(bytes(damaged), like) is not None


@pytest.mark.parametrize(("make", "like"), BOTH.values(), ids=BOTH)
def test_every_cut_and_some_extensions(make, like):
    rng = np.random.default_rng(0)
    for message in make():
        for length in range(len(message)):
            assert outcome(message[:length], like) is TruncatedMessageError
        for extra in range(1, 100):
            assert outcome(message + rng.bytes(extra), like) is DamagedMessageError


@pytest.mark.parametrize("seed", SEEDS)
def test_bursts_of_flipped_bits(seed):
    """Two to sixteen bits anywhere: a checksum of 32 bits misses one in 2^32 at most."""
    rng, messages = np.random.default_rng(seed), plain_messages()
    for _ in range(300):
        damaged = bytearray(messages[rng.integers(len(messages))])
        for bit in rng.choice(8 * len(damaged), rng.integers(2, 17), replace=False):
            damaged[bit // 8] ^= 1 << bit % 8
        assert outcome(bytes(damaged)) is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_splices_and_swaps(seed):
    """The head of one message and the tail of another, or two pieces of one exchanged."""
    rng, messages = np.random.default_rng(seed), plain_messages()
    valid = {*messages}
    for _ in range(300):
        a, b = (messages[i] for i in rng.integers(len(messages), size=2))
        cut, other_cut = rng.integers(len(a)), rng.integers(len(b))
        i, j, k = sorted(rng.integers(len(a) + 1, size=3))
        for message in (
            a[:cut] + b[cut:],
            a[:cut] + b[other_cut:],
            a[:i] + a[j:k] + a[i:j] + a[k:],
        ):
            assert (outcome(message) is None) == (message in valid)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_bytes(seed):
    """From nothing, behind a true start, and behind a true header with a true checksum."""
    rng, messages = np.random.default_rng(seed), plain_messages()
    for _ in range(300):
        noise = rng.bytes(rng.integers(300))
        assert outcome(noise) is not None
        header = messages[0][: rng.integers(1, 21)]
        assert outcome(header + noise) is not None
        check_sealed(messages[0][:20], noise)


def check_sealed(header, body, like=LIKE):
    message = plain_wire.seal(header, body)
    kind = outcome(message, like)
    assert (kind is None) == (plain_wire.read(message, like) is not None)
    return kind


def mutate(rng, body):
    """Changes bit widths, a range, codes, the last byte, or the length."""
    body = bytearray(body)
    num_tensors = len(SHAPES)
    match rng.integers(6):
        case 0:
            body[rng.integers(num_tensors)] = rng.integers(256)
        case 1:
            i, j = rng.integers(num_tensors, size=2)
            body[i], body[j] = body[j], body[i]
        case 2:
            values = [np.nan, np.inf, -np.inf, -1.0, -0.0, 3e38, -3e38, 1e-45, 1e-38, 0.5, 0.1, 0]
            start = num_tensors + 4 * rng.integers(10)
            body[start : start + 4] = struct.pack("<f", rng.choice(values))
        case 3:
            body[rng.integers(num_tensors, len(body))] ^= 1 << rng.integers(8)
        case 4:
            body[-1] |= 1 << rng.integers(8)
        case 5:
            body = body[: rng.integers(len(body))] if rng.integers(2) else body + rng.bytes(1)
    return bytes(body)


@pytest.mark.parametrize("seed", SEEDS)
def test_forged_bodies_with_a_true_checksum(seed):
    rng, messages = np.random.default_rng(seed), plain_messages()
    kinds = collections.Counter()
    for _ in range(250):
        message = messages[rng.integers(len(messages))]
        kinds[check_sealed(message[:20], mutate(rng, message[20:]))] += 1
    assert min(kinds[None], kinds[DamagedMessageError], kinds[TruncatedMessageError]) > 20


@functools.cache
def rest_starts(message):
    """Returns where, in the body, the size of what is entropy coded stands."""
    fields = plain_wire.read(message, CODED_LIKE)
    num_ranges = sum(pair is not None for pair in fields.ranges)
    seeds = 8 * plain_wire.has_seed(fields.quantizer, fields.bit_widths)
    return len(CODED_SHAPES) + seeds + 8 * num_ranges


def mutate_coded(rng, body, start):
    """Changes precisions, alphabets, frequencies, words or their number, or anything else."""
    body = bytearray(body)
    position = int(rng.integers(start, len(body)))
    match rng.integers(5):
        case 0:
            body[position] ^= 1 << rng.integers(8)
        case 1:
            body[position] = rng.integers(256)
        case 2:
            i, j = rng.integers(len(body) - 8, len(body), size=2)
            body[i], body[j] = body[j], body[i]
        case 3:
            num_bytes = rng.integers(1, 13)
            body = body[:-num_bytes] if rng.integers(2) else body + rng.bytes(num_bytes)
            body[start : start + 4] = struct.pack("<I", len(body) - start - 4)
        case 4:
            body[rng.integers(len(CODED_SHAPES))] = rng.integers(1, 17)
    return bytes(body)


@pytest.mark.parametrize("seed", SEEDS)
def test_forged_entropy_coded_bodies(seed):
    rng, messages = np.random.default_rng(seed), coded_messages()
    kinds = collections.Counter()
    for _ in range(200):
        message = messages[rng.integers(len(messages))]
        body = mutate_coded(rng, message[20:], rest_starts(message))
        kinds[check_sealed(message[:20], body, CODED_LIKE)] += 1
    assert min(kinds[None], kinds[DamagedMessageError]) > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_forged_quantizers_and_flags(seed):
    """What another quantizer would make of the same bytes."""
    rng = np.random.default_rng(seed)
    kinds = collections.Counter()
    for _ in range(200):
        make, like = BOTH["coded" if rng.integers(2) else "plain"]
        messages = make()
        message = messages[rng.integers(len(messages))]
        quantizer, flags, reserved = rng.integers(7), rng.integers(3), rng.integers(20) // 19
        header = message[:5] + bytes([quantizer, flags, reserved]) + message[8:20]
        kinds[check_sealed(header, message[20:], like)] += 1
    assert min(kinds[None], kinds[DamagedMessageError], kinds[VersionError]) > 10


def test_a_message_of_another_model_relabelled():
    """The fingerprint is all that tells (2, 4) from (4, 2): forged, it is another message."""
    for message in other_messages():
        fingerprint = plain_wire.start(LIKE, message[5], False)[12:]
        checksum = struct.pack("<I", zlib.crc32(message[:16] + message[20:]))
        assert message[16:20] == checksum
        assert check_sealed(message[:12] + fingerprint + bytes(4), message[20:]) is None
        assert outcome(message[:12] + fingerprint + message[16:]) is DamagedMessageError
        assert outcome(message[:12] + bytes(4) + message[16:]) is ForeignMessageError
