"""What a client sends: baselines, error feedback, a quantized broadcast, and the very message."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.federated import (
    ClientInputs,
    ClientMapping,
    ServerUpdate,
    SharedInputs,
    empty_client_memory,
    make_client_map,
    make_round,
    make_server_update,
)
from fedjax_diffusion.keys import Stream, seed_to_key, stream_key
from fedjax_diffusion.quantization import (
    QuantizationConfig,
    blocks_to_tree,
    decode_update,
    encode_update,
    make_layout,
    stochastic_quantize,
    tree_to_blocks,
    write_upload,
)
from tests.federated.problems import (
    NUM_CLIENTS,
    go_halfway,
    jit_init_params,
    make_data,
    train_halfway,
)

KEY, ROUND = seed_to_key(0), 4
PARAMS = jit_init_params(seed_to_key(1))
SERVER = ServerUpdate()
SIZES = np.asarray(make_data().num_examples, np.float32)
PLAIN = QuantizationConfig(entropy_coding=True)
REPORTED = ("stochastic", "rotated")
"""Quantizers of whole rounds, one with a seed: a round only passes on what ``quantize`` says."""
FEEDBACK = QuantizationConfig(error_feedback=True)
jit_quantize = jax.jit(stochastic_quantize)
stack_blocks = jax.jit(lambda trees: jnp.stack([tree_to_blocks(tree) for tree in trees]))
jit_tree = jax.jit(blocks_to_tree)


@functools.cache
def round_fn_of(config, mode="update", name="map"):
    client_map = make_client_map(ClientMapping(name))
    server_update = make_server_update(SERVER)
    return jax.jit(
        make_round(train_halfway, client_map, server_update, mode=mode, quantization=config)
    )


def play(config, num_bits, mode="update", num_steps=3, client_memory=None, name="map"):
    if client_memory is None:
        client_memory = empty_client_memory(config, PARAMS, NUM_CLIENTS)
    num_bits = np.asarray(num_bits, np.int32)
    cohort = ClientInputs(
        client=np.arange(NUM_CLIENTS, dtype=np.int32),
        row=np.arange(NUM_CLIENTS, dtype=np.int32),
        weight=SIZES,
        num_bits=num_bits,
        num_steps=np.where(num_bits > 0, num_steps, 0).astype(np.int32),
        client_memory=client_memory,
    )
    shared = SharedInputs(KEY, jnp.int32(ROUND), PARAMS, make_data())
    return round_fn_of(config, mode, name)(shared, cohort, SERVER.optimizer.init(PARAMS))


def updates():
    """Returns what each client trains, by hand: a list of trees."""
    models = (go_halfway(PARAMS, client) for client in range(NUM_CLIENTS))
    return [jax.tree.map(np.subtract, model, PARAMS) for model in models]


def quantize_key(client):
    return stream_key(KEY, Stream.QUANTIZE, ROUND, client)


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


@pytest.mark.parametrize("entropy_coding", [False, True])
@pytest.mark.parametrize(
    ("quantizer", "per_tensor"), [*((s, False) for s in REPORTED), ("stochastic", True)]
)
def test_the_report_makes_the_very_message_that_the_client_would_send(
    quantizer, per_tensor, entropy_coding
):
    """Bytes from the round's report equal those of ``encode_update`` of the update itself."""
    if entropy_coding:
        pytest.importorskip("constriction")
    config = QuantizationConfig(quantizer, per_tensor, entropy_coding=True)
    widest = 16 if quantizer == "stochastic" else 7  # above 8 bits it is another program
    num_bits = [2, 4, 5, 8, widest]
    outcome = play(config, num_bits)
    layout = make_layout(PARAMS)
    mean = jax.tree.map(np.zeros_like, PARAMS)
    for client, bits in enumerate(num_bits):
        options = {
            "quantizer": quantizer,
            "per_tensor": per_tensor,
            "entropy_coding": entropy_coding,
        }
        expected = encode_update(quantize_key(client), updates()[client], bits, **options)
        upload = jax.tree.map(lambda x, m=client: np.asarray(x)[m], outcome.clients.upload)
        message = write_upload(
            layout,
            quantizer,
            upload.bit_widths,
            upload.lo,
            upload.step,
            upload.seed,
            upload.codes,
            entropy_coding=entropy_coding,
        )
        assert message == expected
        decoded = decode_update(expected, PARAMS)
        share = SIZES[client] / SIZES.sum()
        mean = jax.tree.map(lambda m, d, a=share: m + a * d, mean, decoded)
    assert_close(outcome.params, jax.tree.map(np.add, PARAMS, mean))


def test_codes_are_kept_for_entropy_coding_alone():
    planned = jax.eval_shape(functools.partial(play, QuantizationConfig(), [8] * NUM_CLIENTS))
    assert planned.clients.upload.codes is None


def test_feedback_sends_next_time_what_was_lost():
    """v = u + e is split into what the server gets and what the client keeps, nothing is lost."""
    rng = np.random.default_rng(0)
    client_memory = [
        jax.tree.map(lambda w: 0.01 * rng.standard_normal(w.shape), PARAMS) for _ in SIZES
    ]
    blocks = stack_blocks(client_memory)
    outcome = play(FEEDBACK, [1, 2, 0, 8, 32], client_memory=blocks, name="vmap")
    assert outcome.clients.is_included.tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(
        outcome.client_memory[2], blocks[2], err_msg="took no part: keeps it"
    )
    np.testing.assert_array_equal(outcome.client_memory[4], 0, err_msg="float32 loses nothing")
    share = SIZES * np.array([1, 1, 0, 1, 1]) / (SIZES.sum() - SIZES[2])
    expected = jax.tree.map(np.zeros_like, PARAMS)
    for client, a in enumerate(share):
        kept = jit_tree(np.asarray(outcome.client_memory)[client], PARAMS)
        expected = jax.tree.map(
            lambda total, u, e, k, a=a: total + a * (u + e - k),
            expected,
            updates()[client],
            client_memory[client],
            kept,
        )
    assert_close(outcome.params, jax.tree.map(np.add, PARAMS, expected), atol=3e-6)


def test_feedback_of_whole_models_is_refused():
    with pytest.raises(ValueError, match="error_feedback needs mode 'update', got 'model'"):
        round_fn_of(FEEDBACK, "model")


def test_only_feedback_has_a_memory():
    assert empty_client_memory(PLAIN, PARAMS, 3) == ()
    assert empty_client_memory(FEEDBACK, PARAMS, 3).shape == (3, *tree_to_blocks(PARAMS).shape)


@pytest.mark.parametrize("mode", ["update", "model"])
def test_clients_start_from_the_quantized_broadcast(mode):
    """Without any training an update is zero; the models' mean is what was broadcast."""
    outcome = play(QuantizationConfig(downlink_bits=3), [32] * NUM_CLIENTS, mode, num_steps=0)
    received = jit_quantize(stream_key(KEY, Stream.DOWNLINK, ROUND), PARAMS, 3)
    assert_close(outcome.params, PARAMS if mode == "update" else received)
    assert (
        max(float(abs(np.subtract(received[name], PARAMS[name])).max()) for name in PARAMS) > 1e-2
    )
    if mode == "update":  # the clients know nothing of the mode
        trained = play(QuantizationConfig(downlink_bits=3), [32] * NUM_CLIENTS)
        plain = play(PLAIN, [32] * NUM_CLIENTS)
        assert not np.allclose(trained.params["w"], plain.params["w"], atol=1e-4)


def test_a_broadcast_at_32_bits_is_the_model_itself():
    same = play(QuantizationConfig(entropy_coding=True, downlink_bits=32), [8] * NUM_CLIENTS)
    assert_close(same.params, play(PLAIN, [8] * NUM_CLIENTS).params, rtol=0, atol=0)


@pytest.mark.parametrize("quantizer", REPORTED)
def test_a_client_reports_its_bound_and_its_curve(quantizer):
    num_bits = [1, 3, 5, 8, 10]
    clients = play(QuantizationConfig(quantizer, entropy_coding=True), num_bits).clients
    curve = np.asarray(clients.bit_width_error)
    assert (np.diff(curve, axis=1) <= 0).all()
    index = np.minimum(num_bits, 17) - 1
    # The step that is sent is rounded up by less than 0.8 %.
    planned = curve[np.arange(NUM_CLIENTS), index]
    bound = np.asarray(clients.error_bound)
    assert (bound >= planned * (1 - 1e-5)).all()
    assert (bound <= planned * 1.008**2 + 1e-12).all()
    np.testing.assert_array_equal(clients.upload.bit_widths, np.tile(num_bits, (2, 1)).T)
