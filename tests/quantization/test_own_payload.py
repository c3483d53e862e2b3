"""A quantizer that a user registers: its checks, its signature, its payload, and its loss."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.bits import BIT_WIDTHS, UNIFORM_ERROR_CURVE
from fedjax_diffusion.host import own_names
from fedjax_diffusion.host.plugins import import_plugins
from fedjax_diffusion.quantization import (
    QUANTIZERS,
    DamagedMessageError,
    Payload,
    QuantizationConfig,
    Quantizer,
    TruncatedMessageError,
    VersionError,
    decode_update,
    encode_update,
    find_quantizer,
    make_grid,
    own_payload_bits,
    payload_bytes,
    predict_bit_width_error,
    quantize,
    register_quantizer,
    tree_to_blocks,
)
from fedjax_diffusion.quantization.nearest import nearest_codes

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_quantizer.py"
r = np.random.default_rng(5)
TREE = {"a": r.normal(size=(20, 15)).astype(np.float32), "b": np.float32([3.0, -1.0, 0.0])}
PLAIN = Quantizer(make_grid, nearest_codes, is_unbiased=False)
to_blocks = jax.jit(tree_to_blocks)


@pytest.fixture(scope="module")
def top_k():
    import_plugins(str(EXAMPLE))
    return find_quantizer("top_k")


def keep_loudest(x, k):
    kept = np.zeros_like(x)
    places = np.argsort(-np.abs(x), kind="stable")[:k]
    kept[places] = x[places]
    return kept


def test_message_of_top_k_carries_only_the_kept_entries(top_k):
    message = encode_update(jax.random.key(0), TREE, {"a": 6, "b": 32}, quantizer="top_k")
    # header, signature (length, name, fingerprint), bit widths, one range, bitmap and codes, floats
    assert len(message) == 20 + (1 + 5 + 8) + 2 + 8 + (300 + 30 * 6 + 3 * 32) / 8
    assert message[5] == 255
    assert message[20:26] == b"\x05top_k"
    decoded = decode_update(message, TREE)
    np.testing.assert_array_equal(decoded["b"], TREE["b"])
    sent, kept = np.asarray(decoded["a"]).ravel(), keep_loudest(TREE["a"].ravel(), 30)
    assert (sent[kept == 0] == 0).all()
    step = np.linalg.norm(kept) / 31  # 2^5 - 1 steps to the norm, rounded up
    assert np.abs(sent - kept).max() <= 1.01 * step


def test_signs_are_sent_with_the_norm_of_their_tensor():
    import_plugins(str(EXAMPLE.with_name("own_signs.py")))
    message = encode_update(jax.random.key(0), TREE, 1, quantizer="sign_l2")
    # header, signature, bit widths, two ranges, one bit per entry of 303
    assert len(message) == 20 + (1 + 7 + 8) + 2 + 16 + 38
    assert len(message) == payload_bytes(TREE, 16, "sign_l2")
    decoded = decode_update(message, TREE)
    signs, blocks, key = find_quantizer("sign_l2"), to_blocks(TREE), jax.random.key(0)
    bound = float(jax.jit(lambda b: quantize(signs, key, blocks, TREE, b).error_bound)(1))
    measured = expected = 0.0
    for name, x in TREE.items():
        norm = np.linalg.norm(x)
        scale = norm / np.sqrt(x.size)
        np.testing.assert_allclose(decoded[name], np.where(x > 0, scale, -scale), rtol=1e-6)
        measured += np.square(decoded[name] - x).sum()
        expected += 2 * norm**2 - 2 * norm * np.abs(x).sum() / np.sqrt(x.size)
    np.testing.assert_allclose(measured, expected, rtol=1e-5)
    assert measured < bound
    np.testing.assert_allclose(predict_bit_width_error(signs, TREE)[:16], bound, rtol=1e-5)


def test_planned_bits_of_an_own_payload_are_those_of_its_messages(top_k):
    table = own_payload_bits(TREE, "top_k")
    for index, bits in enumerate(BIT_WIDTHS):
        assert table[index] == 8 * payload_bytes(TREE, bits, "top_k")
    assert (np.diff(table[1:]) > 0).all()
    assert table[0] == table[1]
    assert own_payload_bits(TREE, "stochastic") is None


def test_loss_of_the_transform_counts_in_error_and_bounds(top_k):
    loss = sum(
        np.square(x.ravel() - keep_loudest(x.ravel(), -(-x.size // 10))).sum()
        for x in TREE.values()
    )
    blocks = to_blocks(TREE)
    bound = jax.jit(lambda b: quantize(top_k, jax.random.key(1), blocks, TREE, b).error_bound)
    error = sum(
        np.square(x - y).sum()
        for x, y in zip(jax.tree.leaves(decode_update(_send(16), TREE)), TREE.values(), strict=True)
    )
    np.testing.assert_allclose(error, loss, rtol=1e-4)
    np.testing.assert_allclose(bound(16), loss, rtol=1e-4)
    assert bound(3) > 1.1 * loss
    assert bound(32) == 0
    curve = np.asarray(predict_bit_width_error(top_k, TREE))
    assert curve[-1] == 0
    assert (np.diff(curve[1:16]) <= 0).all()
    np.testing.assert_allclose(curve[[2, 15]], [bound(3), loss], rtol=0.02)


def _send(bits):
    return encode_update(jax.random.key(1), TREE, bits, quantizer="top_k")


def test_options_for_plain_codes_are_refused_with_an_own_payload(top_k):
    for option in ("per_tensor", "entropy_coding"):
        with pytest.raises(ValueError, match=f"payload of its own, without {option}"):
            QuantizationConfig("top_k", **{option: True})
        with pytest.raises(ValueError, match=f"payload of its own, without {option}"):
            encode_update(jax.random.key(0), TREE, 4, quantizer="top_k", **{option: True})


def test_changed_messages_of_an_own_quantizer_are_refused(top_k):
    message = _send(4)
    for place in (5, 20, 21, 27, 40, len(message) - 1):
        changed = bytearray(message)
        changed[place] ^= 1
        with pytest.raises(ValueError, match=r"checksum|registered|quantizer|bytes|ends"):
            decode_update(bytes(changed), TREE)
    for length in (21, 24, 33, len(message) - 1):
        with pytest.raises(TruncatedMessageError):
            decode_update(message[:length], TREE)


def test_codes_that_unpack_refuses_are_damage(top_k, monkeypatch):
    message, payload = _send(4), top_k.payload
    monkeypatch.setitem(
        QUANTIZERS, "top_k", top_k._replace(payload=payload._replace(unpack=_refuse))
    )
    with pytest.raises(DamagedMessageError, match=r"codes of tensor \['a'\]: no"):
        decode_update(message, TREE)


def _refuse(bits, size, num_bits):
    raise ValueError("no")


def test_message_from_another_source_or_of_a_missing_quantizer_is_refused(top_k, monkeypatch):
    message = _send(4)
    other = top_k._replace(signature=top_k.signature[:-1] + b"!")
    monkeypatch.setitem(QUANTIZERS, "top_k", other)
    with pytest.raises(VersionError, match="'top_k' is registered here from another source"):
        decode_update(message, TREE)
    monkeypatch.delitem(QUANTIZERS, "top_k")
    with pytest.raises(VersionError, match="'top_k' is not registered here"):
        decode_update(message, TREE)


def test_a_name_stands_for_one_source(top_k, monkeypatch):
    register_quantizer("top_k", top_k)  # the same again
    with pytest.raises(ValueError, match="'stochastic' is one of the package's own"):
        register_quantizer("stochastic", PLAIN)
    with pytest.raises(ValueError, match="registered already, from another source"):
        register_quantizer("top_k", PLAIN)
    for name in ("", "top-k", "1k", "k" * 41, "größe"):
        with pytest.raises(ValueError, match="1 to 40 letters, digits"):
            register_quantizer(name, PLAIN)


def _fine_grid(blocks, like, num_bits):
    grid = make_grid(blocks, like, num_bits)
    return grid._replace(step=grid.step * jnp.float32(1.0000001))


def _wide_grid(blocks, like, num_bits):
    grid = make_grid(blocks, like, num_bits)
    return grid._replace(spread=grid.spread * grid.num_bits)


def _high_codes(key, blocks, grid, like):
    return nearest_codes(key, blocks, grid, like) + 1


def _flat_codes(key, blocks, grid, like):
    return nearest_codes(key, blocks, grid, like).ravel()


def _lose_half(seed, blocks, like):
    return blocks / 2


WRONG = [
    (
        {"error_curve": lambda sizes: UNIFORM_ERROR_CURVE[:5]},
        r"error_curve must have shape \[17, L",
    ),
    ({"error_curve": lambda sizes: UNIFORM_ERROR_CURVE + 1}, "error_curve must be 0 at 32 bits"),
    ({"error_curve": lambda sizes: np.sqrt(UNIFORM_ERROR_CURVE)[::-1]}, "error_curve must"),
    ({"error_curve": lambda sizes: UNIFORM_ERROR_CURVE / 9}, "above the error_curve's"),
    ({"error_bound": lambda grid, like: jnp.float32(0.0)}, "above the error_bound 0"),
    ({"make_grid": _fine_grid}, r"grid\.step must have at most 24 - b significant bits"),
    ({"make_grid": _wide_grid}, r"grid\.spread must not depend on num_bits"),
    ({"choose_codes": _high_codes}, r"codes must be in 0\.\.2\^b - 1"),
    ({"choose_codes": _flat_codes}, "cannot be traced by JAX"),
    ({"is_unbiased": True}, "state is_unbiased=False"),
    ({"transform": _lose_half}, "state is_lossy=True"),
    ({"min_bits": 20}, r"min_bits must be 1\.\.16 or 32"),
    ({"payload": Payload(lambda sizes, bits: sizes / bits, len, len)}, "whole numbers"),
    ({"payload": Payload(lambda sizes, bits: sizes - bits, len, len)}, "count_bits"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=[m for _, m in WRONG])
def test_a_quantizer_that_does_not_keep_what_it_states_is_refused(fields, message):
    name = f"wrong_{next(NUMBERS)}"
    with pytest.raises(ValueError, match=rf"quantizer '{name}'.*{message}") as refusal:
        register_quantizer(name, PLAIN._replace(**fields))
    assert name not in QUANTIZERS
    assert "\n" not in str(refusal.value)


NUMBERS = itertools.count()


def test_a_payload_that_loses_codes_is_refused():
    payload = Payload(lambda sizes, bits: sizes * bits, _pack, lambda bits, n, b: np.zeros(n, int))
    with pytest.raises(ValueError, match="a decoded message at 1 bits has other values"):
        register_quantizer("forgets", PLAIN._replace(payload=payload))


def _pack(codes, num_bits):
    return (codes[:, None] >> np.arange(num_bits) & 1).ravel() == 1


@pytest.mark.parametrize("name", ["none", pytest.param("rotated", marks=pytest.mark.slow)])
def test_the_package_keeps_what_is_asked_of_users(name):
    own = f"own_{name}"
    register_quantizer(own, QUANTIZERS[name])
    message = encode_update(jax.random.key(0), TREE, 3, quantizer=own)
    plain = encode_update(jax.random.key(0), TREE, 3, quantizer=name)
    assert len(message) == len(plain) + 1 + len(own) + 8
    jax.tree.map(
        np.testing.assert_array_equal, decode_update(message, TREE), decode_update(plain, TREE)
    )
    del QUANTIZERS[own], own_names._SOURCES["quantizer", own]
