"""The message: what is decoded is what the round used, and its length is what is charged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.quantization import (
    LEVELS,
    WireFormatError,
    decode_update,
    encode_update,
    overhead_bits,
    payload_bytes,
    stochastic_quantize,
)
from fedjax_diffusion.resources.costs import payload_bits

TREE = {
    "w": jax.random.normal(jax.random.key(0), (7, 11)),
    "b": jnp.full((5,), 0.25),
    "empty": jnp.zeros((0, 2)),
    "s": jnp.float32(3.0),
}


def assert_trees_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("num_bits", LEVELS)
def test_decoding_gives_the_quantized_tree_bit_for_bit(num_bits):
    key = jax.random.key(num_bits)
    message = encode_update(key, TREE, num_bits)
    assert len(message) == payload_bytes(TREE, num_bits)
    assert_trees_equal(decode_update(message, TREE), stochastic_quantize(key, TREE, num_bits))


def test_bits_per_tensor():
    num_bits = {"w": 3, "b": 32, "empty": 1, "s": 16}
    message = encode_update(jax.random.key(1), TREE, num_bits)
    assert len(message) == payload_bytes(TREE, num_bits)
    expected = stochastic_quantize(jax.random.key(1), TREE, num_bits)
    assert_trees_equal(decode_update(message, TREE), expected)


@pytest.mark.parametrize("num_bits", LEVELS)
def test_the_allocator_plans_with_the_length_of_the_message(num_bits):
    num_parameters = sum(x.size for x in jax.tree.leaves(TREE))
    overhead = overhead_bits(TREE)[LEVELS.index(num_bits)]
    with jax.enable_x64(True):
        planned = float(payload_bits(num_parameters, num_bits, overhead))
    assert planned == 8 * len(encode_update(jax.random.key(0), TREE, num_bits))


def test_every_damaged_byte_is_noticed():
    message = encode_update(jax.random.key(0), TREE, 3)
    for i in range(len(message)):
        damaged = bytearray(message)
        damaged[i] ^= 0x10
        with pytest.raises(WireFormatError):
            decode_update(bytes(damaged), TREE)


def test_every_truncation_is_noticed():
    message = encode_update(jax.random.key(0), TREE, 3)
    for length in range(len(message)):
        with pytest.raises(WireFormatError):
            decode_update(message[:length], TREE)
    with pytest.raises(WireFormatError):
        decode_update(message + b"\0", TREE)


def test_a_message_for_another_model_is_refused():
    message = encode_update(jax.random.key(0), TREE, 3)
    other = TREE | {"w": jnp.zeros((11, 7))}
    with pytest.raises(WireFormatError, match="another model"):
        decode_update(message, other)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("num_bits", [8, 32])
def test_the_sender_refuses_what_is_not_a_number(bad, num_bits):
    with pytest.raises(ValueError, match="tensor 0 cannot be sent"):
        encode_update(jax.random.key(0), {"w": jnp.array([1.0, bad])}, num_bits)


def test_the_sender_refuses_other_dtypes():
    with pytest.raises(ValueError, match="float32"):
        encode_update(jax.random.key(0), {"w": jnp.arange(3)}, 8)
