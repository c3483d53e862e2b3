"""Messages of every scheme: what is decoded is what ``quantize`` says, to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.quantization import (
    LEVELS,
    QUANTIZERS,
    blocks_to_tree,
    decode_update,
    encode_update,
    overhead_bits,
    payload_bytes,
    tree_to_blocks,
)
from fedjax_diffusion.quantization.wire.layout import make_layout
from fedjax_diffusion.quantization.wire.message import SCHEME_NUMBERS, message_bytes
from fedjax_diffusion.quantization.wire.upload import write_upload
from tests.quantization.uploads import KINDS, LIKE, jit_quantize, make_tree
from tests.quantization.wire import plain_wire

LAYOUT = make_layout(LIKE)
SENT_LEVELS = (2, 5, 12, 32)


def bits(tree):
    return np.concatenate([np.asarray(x).view(np.uint32).ravel() for x in jax.tree.leaves(tree)])


def check_upload(tree, scheme, num_bits, per_tensor, key):
    """Sends a tree plain and entropy coded; returns both messages."""
    quantized = jit_quantize(scheme, per_tensor)(key, tree_to_blocks(tree), jnp.int32(num_bits))
    expected = bits(blocks_to_tree(quantized.decoded, tree))
    levels = np.asarray(quantized.grid.num_bits)
    messages = []
    for entropy_coding in (False, True):
        message = encode_update(
            key,
            tree,
            num_bits,
            scheme=scheme,
            per_tensor=per_tensor,
            entropy_coding=entropy_coding,
        )
        assert message[5] == SCHEME_NUMBERS[scheme]
        np.testing.assert_array_equal(bits(decode_update(message, tree)), expected)
        fields = plain_wire.read(message, tree)
        np.testing.assert_array_equal(bits(plain_wire.values(tree, fields)), expected)
        assert plain_wire.write(tree, fields) == message
        messages.append(message)
    plain, coded = messages
    assert len(plain) == message_bytes(LAYOUT, levels, scheme)
    assert coded == plain or (len(coded) < len(plain) and coded[6] == 1)
    return messages


@pytest.mark.parametrize("per_tensor", [False, True])
@pytest.mark.parametrize("scheme", QUANTIZERS)
def test_decoding_gives_what_quantize_says(scheme, per_tensor):
    for i, kind in enumerate(KINDS):
        tree, key = make_tree(kind), jax.random.key(i)
        for num_bits in SENT_LEVELS:
            plain, _ = check_upload(tree, scheme, num_bits, per_tensor, key)
            assert per_tensor or len(plain) == payload_bytes(LIKE, num_bits, scheme)


def test_the_papers_scheme_is_the_default():
    tree, key = make_tree("normal"), jax.random.key(0)
    assert encode_update(key, tree, 4) == encode_update(key, tree, 4, scheme="stochastic")


def test_every_scheme_has_a_number_of_its_own():
    assert SCHEME_NUMBERS.keys() == QUANTIZERS.keys()
    assert SCHEME_NUMBERS == {"stochastic": 0, "nearest": 1, "qsgd": 2, "rotated": 3, "none": 4}


def test_levels_below_the_least_are_raised():
    tree, key = make_tree("normal"), jax.random.key(0)
    for scheme, least in (("qsgd", 2), ("none", 32)):
        message = encode_update(key, tree, 1, scheme=scheme)
        assert message == encode_update(key, tree, least, scheme=scheme)
        assert len(message) == payload_bytes(tree, 1, scheme)


@pytest.mark.parametrize("scheme", QUANTIZERS)
def test_overhead_is_what_is_not_codes(scheme):
    sizes = LAYOUT.size_array()
    least = QUANTIZERS[scheme].min_bits
    for level, overhead in zip(LEVELS, overhead_bits(LIKE, scheme), strict=True):
        sent = max(level, least)
        codes = 8 * -(-int(sizes.sum()) * sent // 8)
        assert overhead == 8 * payload_bytes(LIKE, level, scheme) - codes
    seed = 8 * (scheme == "rotated")
    expected = [20 + 4 + (b < 32) * (8 * 3 + seed) for b in np.fmax(LEVELS, least)]
    assert (overhead_bits(LIKE, scheme) == 8 * np.array(expected)).all()


@pytest.mark.parametrize("scheme", ["stochastic", "rotated"])
def test_lengths_of_many_messages_at_once(scheme):
    rng = np.random.default_rng(0)
    levels = rng.choice(LEVELS, (3, 50, len(LAYOUT.sizes)))
    levels[0, :9] = 32
    lengths = message_bytes(LAYOUT, levels, scheme)
    assert (lengths.dtype, lengths.shape) == (np.int64, (3, 50))
    names = sorted(LIKE)
    for index in np.ndindex(3, 50):
        split = dict(zip(names, levels[index].tolist(), strict=True))
        assert lengths[index] == payload_bytes(LIKE, split, scheme)
    large = make_layout([jax.ShapeDtypeStruct((2**31,), jnp.float32)])
    assert message_bytes(large, [[32], [16]], scheme)[0] == 21 + 2**33


def upload(levels, scheme="rotated"):
    tree = make_tree("normal")
    made = jit_quantize(scheme, False)(jax.random.key(3), tree_to_blocks(tree), jnp.int32(6))
    fields = [np.asarray(x) for x in (made.grid.lo, made.grid.step, made.seed)]
    return LAYOUT, scheme, levels, *fields, np.asarray(made.codes).astype(np.uint16)


@pytest.mark.parametrize("entropy_coding", [False, True])
def test_codes_that_are_there_make_the_same_message(entropy_coding):
    options = {"entropy_coding": entropy_coding}
    message = write_upload(*upload([6] * 4), **options)
    tree = make_tree("normal")
    assert message == encode_update(jax.random.key(3), tree, 6, scheme="rotated", **options)


def test_an_upload_that_cannot_be_written_says_why():
    *fields, codes = upload([6, 6, 6, 32])
    with pytest.raises(ValueError, match=r"^floats must be given where a level is 32, got None$"):
        write_upload(*fields, codes)
    with pytest.raises(ValueError, match=r"^codes must be given where a level is below 32, got N"):
        write_upload(*fields, None, floats=codes.astype(np.float32))
    with pytest.raises(ValueError, match=r"^levels of 'none' must be of \[32\], got \[6, 32\]$"):
        write_upload(LAYOUT, "none", *fields[2:], codes)
    _, scheme, levels, lo, step, seed, codes = upload([6] * 4)
    lo = np.where(np.arange(4) == 0, np.float32(1e37), lo)  # 64 times as much overflows
    with pytest.raises(ValueError, match=r"^tensor \['b'\] cannot be sent"):
        write_upload(LAYOUT, scheme, levels, lo, step, seed, codes)
    write_upload(LAYOUT, "stochastic", levels, lo, step, seed, codes)


def test_wrong_options_are_refused():
    tree = make_tree("normal")
    with pytest.raises(ValueError, match=r"^quantizer must be one of stochastic, .*got 'lattice'$"):
        encode_update(jax.random.key(0), tree, 4, scheme="lattice")
    split = jax.tree.map(lambda x: 4, LIKE)
    with pytest.raises(ValueError, match=r"^num_bits must be one level where per_tensor splits it"):
        encode_update(jax.random.key(0), tree, split, per_tensor=True)


def test_a_rotated_tensor_keeps_a_margin_below_float32():
    tree = {"w": jnp.zeros(64).at[0].set(1e38)}
    with pytest.raises(ValueError, match=r"^tensor \['w'\] cannot be sent"):
        encode_update(jax.random.key(0), tree, 8, scheme="rotated")
    assert encode_update(jax.random.key(0), tree, 8)
