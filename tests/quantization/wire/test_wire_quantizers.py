"""Messages of every quantizer: what is decoded is what ``quantize`` says, to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.quantization import (
    QUANTIZERS,
    decode_update,
    encode_update,
    overhead_bits,
    payload_bytes,
)
from fedjax_diffusion.quantization.quantizer import OWN_NUMBER
from fedjax_diffusion.quantization.wire.layout import make_layout
from fedjax_diffusion.quantization.wire.message import message_bytes
from fedjax_diffusion.quantization.wire.upload import write_upload
from tests.quantization.uploads import (
    KINDS,
    LIKE,
    blocks_to_like,
    jit_quantize,
    like_to_blocks,
    make_tree,
)
from tests.quantization.wire import plain_wire

LAYOUT = make_layout(LIKE)
SENT_BIT_WIDTHS = dict.fromkeys(QUANTIZERS, (2, 5)) | {"none": (2, 32)}
"""Codes of two bytes, and floats, are written alike for every quantizer: ``test_codec.py``."""


def bits(tree):
    return np.concatenate([np.asarray(x).view(np.uint32).ravel() for x in jax.tree.leaves(tree)])


def check_upload(tree, quantizer, num_bits, per_tensor, key):
    """Sends a tree plain and entropy coded; returns both messages."""
    quantized = jit_quantize(quantizer, per_tensor)(key, like_to_blocks(tree), np.int32(num_bits))
    expected = bits(blocks_to_like(quantized.decoded))
    bit_widths = np.asarray(quantized.grid.num_bits)
    messages = []
    for entropy_coding in (False, True):
        message = encode_update(
            key,
            tree,
            num_bits,
            quantizer=quantizer,
            per_tensor=per_tensor,
            entropy_coding=entropy_coding,
        )
        assert message[5] == QUANTIZERS[quantizer].wire_number
        np.testing.assert_array_equal(bits(decode_update(message, tree)), expected)
        fields = plain_wire.read(message, tree)
        np.testing.assert_array_equal(bits(plain_wire.values(tree, fields)), expected)
        assert plain_wire.write(tree, fields) == message
        messages.append(message)
    plain, coded = messages
    assert len(plain) == message_bytes(LAYOUT, bit_widths, quantizer)
    assert coded == plain or (len(coded) < len(plain) and coded[6] == 1)
    return messages


@pytest.mark.parametrize(
    ("quantizer", "per_tensor"),
    [*((name, False) for name in QUANTIZERS), ("stochastic", True)],
)
def test_decoding_gives_what_quantize_says(quantizer, per_tensor):
    # Each split of the bits over the tensors is a message of another form.
    for i, kind in enumerate(("uniform", "offset", "sparse") if per_tensor else KINDS):
        tree, key = make_tree(kind), jax.random.key(i)
        for num_bits in (2, 12) if per_tensor else SENT_BIT_WIDTHS[quantizer]:
            plain, _ = check_upload(tree, quantizer, num_bits, per_tensor, key)
            assert per_tensor or len(plain) == payload_bytes(LIKE, num_bits, quantizer)


def test_the_papers_quantizer_is_the_default():
    tree, key = make_tree("normal"), jax.random.key(0)
    assert encode_update(key, tree, 4) == encode_update(key, tree, 4, quantizer="stochastic")


def test_every_quantizer_has_a_number_of_its_own():
    numbers = {name: quantizer.wire_number for name, quantizer in QUANTIZERS.items()}
    numbers = {name: number for name, number in numbers.items() if number != OWN_NUMBER}
    assert len({*numbers.values()}) == len(numbers)
    assert all(0 <= number < OWN_NUMBER for number in numbers.values())
    kept = {"stochastic": 0, "nearest": 1, "qsgd": 2, "rotated": 3, "none": 4}
    assert kept.items() <= numbers.items()


def test_bit_widths_below_the_least_are_raised():
    tree, key = make_tree("normal"), jax.random.key(0)
    for quantizer, least in (("qsgd", 2), ("none", 32)):
        message = encode_update(key, tree, 1, quantizer=quantizer)
        assert message == encode_update(key, tree, least, quantizer=quantizer)
        assert len(message) == payload_bytes(tree, 1, quantizer)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_overhead_is_what_is_not_codes(quantizer):
    sizes = LAYOUT.size_array()
    least = QUANTIZERS[quantizer].min_bits
    for bit_width, overhead in zip(BIT_WIDTHS, overhead_bits(LIKE, quantizer), strict=True):
        sent = max(bit_width, least)
        codes = 8 * -(-int(sizes.sum()) * sent // 8)
        assert overhead == 8 * payload_bytes(LIKE, bit_width, quantizer) - codes
    seed = 8 * (quantizer == "rotated")
    expected = [20 + 4 + (b < 32) * (8 * 3 + seed) for b in np.fmax(BIT_WIDTHS, least)]
    assert (overhead_bits(LIKE, quantizer) == 8 * np.array(expected)).all()


@pytest.mark.parametrize("quantizer", ["stochastic", "rotated"])
def test_lengths_of_many_messages_at_once(quantizer):
    rng = np.random.default_rng(0)
    bit_widths = rng.choice(BIT_WIDTHS, (3, 50, len(LAYOUT.sizes)))
    bit_widths[0, :9] = 32
    lengths = message_bytes(LAYOUT, bit_widths, quantizer)
    assert (lengths.dtype, lengths.shape) == (np.int64, (3, 50))
    names = sorted(LIKE)
    for index in np.ndindex(3, 50):
        split = dict(zip(names, bit_widths[index].tolist(), strict=True))
        assert lengths[index] == payload_bytes(LIKE, split, quantizer)
    large = make_layout([jax.ShapeDtypeStruct((2**31,), jnp.float32)])
    assert message_bytes(large, [[32], [16]], quantizer)[0] == 21 + 2**33


def upload(bit_widths, quantizer="rotated"):
    tree = make_tree("normal")
    made = jit_quantize(quantizer, False)(jax.random.key(3), like_to_blocks(tree), np.int32(6))
    fields = [np.asarray(x) for x in (made.grid.lo, made.grid.step, made.seed)]
    return LAYOUT, quantizer, bit_widths, *fields, np.asarray(made.codes).astype(np.uint16)


def test_floats_are_sent_without_a_seed():
    layout, quantizer, _, *fields, _ = upload([32] * 4)
    floats = like_to_blocks(make_tree("normal"))
    message = write_upload(layout, quantizer, [32] * 4, *fields, None, floats=floats)
    assert len(message) == payload_bytes(LIKE, 32, quantizer)
    assert plain_wire.read(message, make_tree("normal")).quantizer == plain_wire.ROTATED
    np.testing.assert_array_equal(bits(decode_update(message, LIKE)), bits(make_tree("normal")))


@pytest.mark.parametrize("entropy_coding", [False, True])
def test_codes_that_are_there_make_the_same_message(entropy_coding):
    options = {"entropy_coding": entropy_coding}
    message = write_upload(*upload([6] * 4), **options)
    tree = make_tree("normal")
    assert message == encode_update(jax.random.key(3), tree, 6, quantizer="rotated", **options)


def test_an_upload_that_cannot_be_written_says_why():
    *fields, codes = upload([6, 6, 6, 32])
    with pytest.raises(ValueError, match=r"^floats must be given if a bit width is 32, got None$"):
        write_upload(*fields, codes)
    with pytest.raises(ValueError, match=r"^codes must be given if a bit width is below 32, got N"):
        write_upload(*fields, None, floats=codes.astype(np.float32))
    with pytest.raises(
        ValueError, match=r"^bit widths of 'none' must be of \[32\], got \[6, 32\]$"
    ):
        write_upload(LAYOUT, "none", *fields[2:], codes)
    _, quantizer, bit_widths, lo, step, seed, codes = upload([6] * 4)
    lo = np.where(np.arange(4) == 0, np.float32(1e37), lo)  # 64 times as much overflows
    with pytest.raises(ValueError, match=r"^tensor \['b'\] cannot be sent"):
        write_upload(LAYOUT, quantizer, bit_widths, lo, step, seed, codes)
    write_upload(LAYOUT, "stochastic", bit_widths, lo, step, seed, codes)


def test_wrong_options_are_refused():
    tree = make_tree("normal")
    with pytest.raises(ValueError, match=r"^quantizer must be one of stochastic, .*got 'lattice'$"):
        encode_update(jax.random.key(0), tree, 4, quantizer="lattice")
    split = jax.tree.map(lambda x: 4, LIKE)
    with pytest.raises(
        ValueError, match=r"^num_bits must be one bit width if per_tensor splits it"
    ):
        encode_update(jax.random.key(0), tree, split, per_tensor=True)


def test_a_rotated_tensor_keeps_a_margin_below_float32():
    tree = make_tree("zero")
    tree["w"][0] = 1e38
    with pytest.raises(ValueError, match=r"^tensor \['w'\] cannot be sent"):
        encode_update(jax.random.key(0), tree, 8, quantizer="rotated")
    assert encode_update(jax.random.key(0), tree, 8)
