"""The default device against the CPU: codes, messages, resumed runs, rounds and losses.

pytest -m gpu tests/accelerators                      on an accelerator, in two minutes
JAX_PLATFORMS=cpu pytest -m gpu tests/accelerators    another CPU device in its place
"""

import functools
import os
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fedjax_diffusion import decode_update, encode_update, load_run, run, stochastic_quantize
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.quantization import QUANTIZERS, QuantizationConfig, quantize, tree_to_blocks
from fedjax_diffusion.quantization.blocks import row_tensors
from fedjax_diffusion.runs.records import read_metrics
from fedjax_diffusion.simulator import make_simulator
from tests.accelerators.networks import ONE_LEVEL, client_data, network, play, simulator_of
from tests.federated import problems
from tests.tiny import tiny_config

pytestmark = [pytest.mark.gpu, pytest.mark.optimized]

BITS = (1, 2, 3, 4, 5, 8, 12, 16, 32)
ROUND_BITS = (8, 4, 2)
"""Of the clients of a quantized round."""
NUM_LOSS_ROUNDS = 8
ONE_STEP_IN = 1e-3
"""The share of the entries whose code may be another one: its neighbour."""


class Way(NamedTuple):
    client_map: str
    conv: str
    chunk_size: int | None = None


WAYS = (Way("map", "stock"), Way("vmap", "matmul"), Way("chunked", "rows", 2))


def cpu():
    """Returns a CPU device that is another one than the default, even where that is a CPU."""
    return jax.local_devices(backend="cpu")[-1]


@pytest.fixture(scope="module", autouse=True)
def accelerator():
    """Returns the default device."""
    device = jax.devices()[0]
    if device.platform == "cpu" and os.environ["JAX_PLATFORMS"] != "cpu":
        pytest.skip("JAX finds no accelerator; JAX_PLATFORMS=cpu puts the CPU in its place")
    return device


def on_both(function, *arguments):
    """Returns what ``function`` gives on the default device and on the CPU, on the host."""
    results = []
    for device in (jax.devices()[0], cpu()):
        with jax.default_device(device):
            results.append(jax.device_get(function(*arguments)))
    return results


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


@functools.cache
def update():
    """Returns an update with large and small tensors, far from 0 and near to it."""
    rng = np.random.default_rng(0)
    sizes = {"kernel": (3, 3, 64, 128), "bias": (128,), "offset": (5000,), "scalar": ()}
    scales = {"kernel": 0.02, "bias": 1e-20, "offset": 0.01, "scalar": 3.0}
    return {
        name: (scales[name] * rng.normal(size=size) + (name == "offset")).astype(np.float32)
        for name, size in sizes.items()
    }


@jax.jit
def upload(key, tree, num_bits):
    sent = quantize(QUANTIZERS["stochastic"], key, tree_to_blocks(tree), tree, num_bits)
    return sent.grid, sent.codes, stochastic_quantize(key, tree, num_bits)


@pytest.mark.parametrize("num_bits", BITS)
def test_grids_codes_and_values_are_those_of_the_cpu(num_bits):
    """To the bit: no number of the quantizer hangs on how a device divides, adds up or fuses."""
    sent = on_both(lambda: upload(seed_to_key(0), update(), jnp.int32(num_bits)))
    (grid, codes, values), (expected_grid, expected_codes, expected_values) = sent
    assert_equal(grid._asdict(), expected_grid._asdict())
    if num_bits < 32:
        assert_equal(codes, expected_codes)
    assert_equal(values, expected_values)


@pytest.mark.parametrize("num_bits", [*BITS, "mixed"])
def test_messages_are_those_of_the_cpu(num_bits):
    bits = dict(zip(update(), (2, 7, 16, 32), strict=True)) if num_bits == "mixed" else num_bits
    message, expected = on_both(lambda: encode_update(seed_to_key(1), update(), bits))
    assert message == expected
    assert_equal(*on_both(decode_update, message, update()))


class StopError(Exception):
    pass


def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path):
    """Four rounds against two that are kept of three, and two more."""
    config = tiny_config(compute__client_map="map", compute__conv="stock")

    def stop(record):
        if record["round"] == 2:
            raise StopError

    run(config, tmp_path / "whole")
    with pytest.raises(StopError):
        run(config, tmp_path / "resumed", on_record=stop)
    first_rounds = []
    run(config, tmp_path / "resumed", on_start=lambda _, first: first_rounds.append(first))
    assert first_rounds == [2]
    folders = [tmp_path / name for name in ("whole", "resumed")]
    assert_equal(*(load_run(folder)[1] for folder in folders))
    whole, resumed = (
        [record | {"wall_seconds": 0} for record in read_metrics(folder)] for folder in folders
    )
    assert whole == resumed


@functools.cache
def simulator(way):
    """Returns a simulator by plain gradient descent, which enlarges no rounding; it keeps codes.

    Adam divides by the size of a gradient, so where that is all rounding its step is, too.
    """
    return simulator_of(
        network(way.conv, **ONE_LEVEL),
        client_optimizer=optax.sgd(0.1),
        client_map=way.client_map,
        chunk_size=way.chunk_size,
        quantization=QuantizationConfig(entropy_coding=True),
    )


def play_on(device, way, state, num_bits, precision="highest"):
    """Returns the next state and what was measured, on the host; ``state`` None: the first."""
    with jax.default_device(device), jax.default_matmul_precision(precision):
        data = client_data()
        if state is None:
            state = simulator(way).init(seed_to_key(0), data)
        state = jax.device_put(jax.device_get(state))
        return jax.device_get(play(simulator(way), state, data, num_bits))


@functools.cache
def trained():
    """Returns a state after a round on the CPU: no layer is zero any more."""
    return play_on(cpu(), WAYS[0], None, [32] * 3)[0]


@functools.cache
def on_cpu(num_bits):
    return play_on(cpu(), WAYS[0], trained(), num_bits)


def flat(params):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


@pytest.mark.parametrize("way", WAYS, ids=[way.client_map for way in WAYS])
def test_a_round_of_float32_is_that_of_the_cpu(accelerator, way):
    """To 1e-5 of the update: sums of some hundred float32, in another order, some dozen layers.

    One rounding is 6e-8; they add up like a random walk through two steps, forward and backward.
    """
    state, _ = play_on(accelerator, way, trained(), [32] * 3)
    expected, _ = on_cpu((32,) * 3)
    length = np.linalg.norm(flat(expected.params) - flat(trained().params))
    assert length > 0
    assert np.linalg.norm(flat(state.params) - flat(expected.params)) <= 1e-5 * length


def is_held(upload):
    """Returns where the codes [M, R, 128] mean anything: the range of their tensor is no rounding.

    What is added before a normalization has no gradient but the rounding of zero.
    """
    spreads = upload.step * (2.0**upload.bit_widths - 1)
    is_wide = spreads > 1e-4 * spreads.max(axis=1, keepdims=True)
    return is_wide[:, row_tensors(trained().params), None]


@pytest.mark.parametrize("way", WAYS, ids=[way.client_map for way in WAYS])
def test_a_quantized_round_sends_the_codes_of_the_cpu(accelerator, way):
    """But for entries that rounding in the training moves over the edge of their draw."""
    _, info = play_on(accelerator, way, trained(), ROUND_BITS)
    _, expected = on_cpu(ROUND_BITS)
    upload, other = info.clients.upload, expected.clients.upload
    assert_equal(upload.bit_widths, other.bit_widths)
    differences = np.abs(upload.codes.astype(int) - other.codes) * is_held(other)
    assert is_held(other).mean() > 0.8
    assert differences.max() <= 1
    assert (differences > 0).mean() <= ONE_STEP_IN


def test_a_round_repeats_itself(accelerator):
    """To the bit: no operation adds up in whatever order its threads arrive."""
    first, again = (play_on(accelerator, WAYS[0], trained(), ROUND_BITS) for _ in range(2))
    assert_equal(first, again)


def test_default_precision_changes_losses_by_noise_only(accelerator, capsys):
    """Products of float32 may be rounded to 11 bits (TF32) or 8, which favours no client.

    Both start each round from the same state. The mean of the paired differences is held to five of
    its standard errors, so to what rounding without a direction makes of it, and each to 2 %.
    """
    state, losses, others = trained(), [], []
    for _ in range(NUM_LOSS_ROUNDS):
        _, info = play_on(accelerator, WAYS[0], state, [32] * 3, precision="default")
        state, expected = play_on(cpu(), WAYS[0], state, [32] * 3)
        losses.append(info.clients.loss)
        others.append(expected.clients.loss)
    loss, other = np.ravel(losses).astype(float), np.ravel(others).astype(float)
    difference = loss - other
    error = difference.std(ddof=1) / np.sqrt(difference.size)
    with capsys.disabled():
        print(
            f"\n{accelerator.device_kind}, default precision: loss minus the CPU's "
            f"{difference.mean():+.2e} +- {error:.1e} (standard error of {difference.size} pairs), "
            f"at most {np.abs(difference).max():.1e}, of {other.mean():.4f}"
        )
    assert np.isfinite(loss).all()
    assert abs(difference.mean()) <= 5 * error
    assert np.all(np.abs(difference) <= 0.02 * other)


def test_the_model_lives_on_the_default_device(accelerator):
    """From the first state on, where nobody asks for a device."""
    data = problems.make_data()
    simulator = make_simulator(problems.init_params, problems.TRAINING)
    state = simulator.init(seed_to_key(0), data)
    allocation = SimpleNamespace(num_bits=np.full(problems.NUM_CLIENTS, 8))
    cohort = np.arange(problems.NUM_CLIENTS)
    after, _ = simulator.step(seed_to_key(0), state, allocation, cohort, data)
    assert accelerator.platform == jax.default_backend()
    for params in (state.params, after.params):
        assert {d for leaf in jax.tree.leaves(params) for d in leaf.devices()} == {accelerator}
