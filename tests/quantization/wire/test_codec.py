"""The message: what is decoded is what the round used, and its length is what is charged."""

import functools
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.edge.costs import payload_bits
from fedjax_diffusion.quantization import (
    DamagedMessageError,
    ForeignMessageError,
    TruncatedMessageError,
    VersionError,
    WireFormatError,
    decode_update,
    encode_update,
    overhead_bits,
    payload_bytes,
    stochastic_quantize,
)
from fedjax_diffusion.quantization.wire import codec
from tests.each import check_each
from tests.quantization.wire import plain_wire

SIZES = (0, 1, 2, 7, 8, 9, 15, 16, 31, 32, 33, 63, 127, 128, 129, 255, 256, 257, 1000)
RNG = np.random.default_rng(0)
TREE = {f"t{n:04}": np.float32(RNG.normal(size=n)) for n in SIZES}
TREE |= {
    "constant": np.full(45, 0.3, np.float32),
    "empty": np.zeros((0, 2), np.float32),
    "matrix": np.float32(RNG.normal(size=(7, 11))),
    "negative zero": np.full(3, -0.0, np.float32),
    "scalar": np.float32(3.0),
    "tiny": np.linspace(0, 1e-40, 20, dtype=np.float32),
}
NAMES = sorted(TREE)
SMALL = {
    "a": np.linspace(-1, 1, 19, dtype=np.float32),
    "b": {"c": np.ones((2, 3), np.float32), "d": np.arange(5, dtype=np.float32)},
}
quantize = jax.jit(stochastic_quantize)


@functools.cache
def small_message():
    return encode_update(jax.random.key(0), SMALL, 3)


def bits(x):
    """The patterns, so that -0.0 is not 0.0."""
    return np.asarray(x).view(np.uint32)


def assert_trees_equal(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(bits(x), bits(y)), a, b)


def check_message(num_bits, seed):
    """Encodes TREE and compares with the quantizer, the planned length and the plain format."""
    key = jax.random.key(seed)
    per_tensor = jax.tree.broadcast(num_bits, TREE)
    message = encode_update(key, TREE, num_bits)
    assert len(message) == payload_bytes(TREE, num_bits)
    quantized = quantize(key, TREE, jax.tree.map(np.int32, per_tensor))
    decoded = decode_update(message, TREE)
    assert_trees_equal(decoded, quantized)
    fields = plain_wire.read(message, TREE)
    assert fields.bit_widths == [per_tensor[name] for name in NAMES]
    for name, value in zip(NAMES, plain_wire.values(TREE, fields), strict=True):
        np.testing.assert_array_equal(bits(value), bits(quantized[name]).ravel())
    assert plain_wire.write(TREE, fields) == message


def test_decoding_gives_the_quantized_tree_bit_for_bit():
    def check(num_bits):
        check_message(num_bits, seed=num_bits)

    check_each(BIT_WIDTHS, check)


@pytest.mark.parametrize("seed", range(3))
def test_every_mixture_of_bit_widths_per_tensor(seed):
    rng = np.random.default_rng(seed)
    choice = (
        BIT_WIDTHS if seed else BIT_WIDTHS[:8]
    )  # up to 8 bits the codes are bytes on the device
    check_message({name: int(rng.choice(choice)) for name in NAMES}, seed)


def test_bit_widths_are_a_pytree_prefix():
    message = encode_update(jax.random.key(1), SMALL, {"a": 3, "b": np.int64(8)})
    assert message == encode_update(jax.random.key(1), SMALL, {"a": 3, "b": {"c": 8, "d": 8}})
    assert len(message) == payload_bytes(SMALL, {"a": np.int32(3), "b": 8})


@pytest.mark.parametrize(
    ("tree", "num_bits"),
    [(np.ones((0, 3), np.float32), 32), ({name: np.ones(0, np.float32) for name in "ab"}, 7)],
)
def test_a_tree_without_entries(tree, num_bits):
    message = encode_update(jax.random.key(0), tree, num_bits)
    assert len(message) == payload_bytes(tree, num_bits) == 20 + len(jax.tree.leaves(tree))
    assert_trees_equal(decode_update(message, tree), tree)


def test_the_allocator_plans_with_the_length_of_the_message():
    def check(num_bits):
        num_parameters = sum(x.size for x in jax.tree.leaves(TREE))
        overhead = overhead_bits(TREE)[BIT_WIDTHS.index(num_bits)]
        with jax.enable_x64(True):
            planned = float(payload_bits(num_parameters, num_bits, overhead))
        assert planned == 8 * len(encode_update(jax.random.key(0), TREE, num_bits))

    check_each(BIT_WIDTHS, check)


def test_new_bit_widths_do_not_trace_the_quantizer_again(monkeypatch):
    """Once for codes that are bytes, once for wider ones, once for floats."""
    traces, tree = [], {"of no other test": np.arange(3, dtype=np.float32)}

    def count(*args, **options):
        traces.append(args)
        return quantize_blocks(*args, **options)

    quantize_blocks = codec.quantize
    monkeypatch.setattr(codec, "quantize", count)
    for num_bits in (2, 8, 10, 16, 32, 3):
        encode_update(jax.random.key(0), tree, num_bits)
    assert len(traces) == 3


def reseal(message, start, new):
    """Replaces bytes and sets the checksum right."""
    changed = message[:start] + new + message[start + len(new) :]
    return plain_wire.seal(changed[:20], changed[20:])


def flip(message, i):
    return message[:i] + bytes([message[i] ^ 1]) + message[i + 1 :]


def as_float(x):
    return struct.pack("<f", x)


WRONG = {  # cause: (damage, kind, what is said); the range of SMALL["a"] lies at 23 and 27
    "nothing": (lambda m: b"", TruncatedMessageError, "^0 bytes of a header of 20$"),
    "half a start": (lambda m: b"FJ", TruncatedMessageError, "^2 bytes of a header of 20$"),
    "a picture": (
        lambda m: b"PNG",
        ForeignMessageError,
        "^an upload starts with b'FJDQ', this starts with b",
    ),
    "newer": (
        lambda m: m[:4] + b"\4",
        VersionError,
        "^version 4 of the format; this is version 3$",
    ),
    "older": (lambda m: m[:4] + b"\2" + m[5:], VersionError, "^version 2 of the format; this"),
    "new quantizer": (
        lambda m: reseal(m, 5, b"\5"),
        VersionError,
        r"^quantizer 5 is none of 0\.\.4, which",
    ),
    "other quantizer": (lambda m: flip(m, 5), DamagedMessageError, "the checksum does not match"),
    "flags": (lambda m: reseal(m, 6, b"\2"), DamagedMessageError, "zero, got 2 and 0$"),
    "reserved": (
        lambda m: reseal(m, 7, b"\1"),
        DamagedMessageError,
        "reserved byte zero, got 0 and 1",
    ),
    "no seed": (
        lambda m: reseal(m, 5, b"\3"),
        TruncatedMessageError,
        "^59 bytes of a message of 67$",
    ),
    "not floats": (
        lambda m: reseal(m, 5, b"\4"),
        DamagedMessageError,
        "'none' must be at least 32, g",
    ),
    "tensors": (lambda m: m[:8] + b"\4" + m[9:], ForeignMessageError, "has 4 tensors, this mod"),
    "model": (lambda m: flip(m, 12), ForeignMessageError, "made for another model"),
    "checksum": (lambda m: flip(m, 16), DamagedMessageError, "does not match"),
    "two bit widths": (
        lambda m: m[:22],
        TruncatedMessageError,
        "^the message ends after 2 of 3 bit widths$",
    ),
    "cut": (lambda m: m[:-1], TruncatedMessageError, "^58 bytes of a message of 59$"),
    "long": (lambda m: m + b"\0", DamagedMessageError, "^60 bytes for a message of 59$"),
    "bit width 0": (
        lambda m: reseal(m, 20, b"\0"),
        DamagedMessageError,
        r"1\.\.16 or 32, got \[0, 3\]",
    ),
    "bit width 17": (
        lambda m: reseal(m, 20, b"\x11"),
        DamagedMessageError,
        r"16 or 32, got \[3, 17\]",
    ),
    "NaN": (lambda m: reseal(m, 23, as_float(np.nan)), DamagedMessageError, "range is not finite"),
    "infinity": (lambda m: reseal(m, 27, as_float(np.inf)), DamagedMessageError, "is not finite"),
    "overflow": (lambda m: reseal(m, 27, as_float(3e38)), DamagedMessageError, "is not finite"),
    "negative": (
        lambda m: reseal(m, 27, as_float(-1)),
        DamagedMessageError,
        "^a step must be 0, or",
    ),
    "minus zero": (
        lambda m: reseal(m, 27, as_float(-0.0)),
        DamagedMessageError,
        "must be 0, or pos",
    ),
    "fine step": (
        lambda m: reseal(m, 27, as_float(0.1)),
        DamagedMessageError,
        "24 - bit width signif",
    ),
    "subnormal": (lambda m: reseal(m, 27, as_float(2.0**-130)), DamagedMessageError, "and normal"),
    "last bits": (
        lambda m: reseal(m, 58, b"\xff"),
        DamagedMessageError,
        "the last code must be zero",
    ),
}


@pytest.mark.parametrize("cause", WRONG)
def test_what_is_wrong_is_said(cause):
    damage, kind, match = WRONG[cause]
    with pytest.raises(WireFormatError, match=match) as caught:
        decode_update(damage(small_message()), SMALL)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_float_that_is_not_a_number_is_refused(bad):
    message = encode_update(jax.random.key(0), SMALL, 32)
    with pytest.raises(DamagedMessageError, match=r"^tensor \['a'\] holds a NaN or an infinity$"):
        decode_update(reseal(message, 23, as_float(bad)), SMALL)


@pytest.mark.parametrize(
    "other",
    [
        {"a": SMALL["a"], "b": {"c": jnp.ones((3, 2)), "d": SMALL["b"]["d"]}},
        {"a": SMALL["a"], "b": {"c": SMALL["b"]["c"], "e": SMALL["b"]["d"]}},
        {"a": SMALL["a"], "c": SMALL["b"]},
        [SMALL["a"], SMALL["b"]["c"], SMALL["b"]["d"]],
    ],
)
def test_a_message_for_another_model_is_refused(other):
    with pytest.raises(ForeignMessageError, match="another model: names or shapes differ"):
        decode_update(small_message(), other)


@pytest.mark.parametrize("entries", [[1, np.nan], [1, np.inf], [1, -np.inf], [-3e38, 3e38]])
@pytest.mark.parametrize("num_bits", [8, 32])
def test_the_sender_refuses_what_is_not_a_number(entries, num_bits):
    tree = SMALL | {"b": SMALL["b"] | {"d": np.float32([0, *entries, 0, 0])}}
    with pytest.raises(ValueError, match=r"^tensor \['b'\]\['d'\] cannot be sent: it has a"):
        encode_update(jax.random.key(0), tree, num_bits)


def test_a_grid_that_leaves_float32_is_not_sent():
    tree = SMALL | {"a": np.linspace(0, np.finfo(np.float32).max, 19, dtype=np.float32)}
    with pytest.raises(ValueError, match=r"^tensor \['a'\] cannot be sent"):
        encode_update(jax.random.key(0), tree, 8)
    assert_trees_equal(decode_update(encode_update(jax.random.key(0), tree, 32), tree), tree)


def test_a_tree_without_tensors_comes_back():
    message = encode_update(jax.random.key(0), {"a": {}}, 8)
    assert decode_update(message, {"a": {}}) == {"a": {}}


def test_both_ends_refuse_other_dtypes():
    tree, message = SMALL | {"a": np.arange(19, dtype=np.int32)}, small_message()
    for attempt in (
        lambda: encode_update(jax.random.key(0), tree, 8),
        lambda: decode_update(message, tree),
    ):
        with pytest.raises(ValueError, match=r"tensor \['a'\] is int32; an upload carries float32"):
            attempt()


@pytest.mark.parametrize("num_bits", [0, 17, 31, True, 2.5, {"a": 8, "b": 33}, np.array([8, 8])])
def test_the_sender_refuses_other_bit_widths(num_bits):
    with pytest.raises(ValueError, match=r"num_bits must be 1\.\.16 or 32"):
        encode_update(jax.random.key(0), SMALL, num_bits)
    with pytest.raises(ValueError, match=r"num_bits must be 1\.\.16 or 32"):
        payload_bytes(SMALL, num_bits)
