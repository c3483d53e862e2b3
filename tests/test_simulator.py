"""The simulator: pure, one program for all rounds, the same on any devices, resumable exactly."""

import collections
import dataclasses
import functools
import operator
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.experiment.compute import make_mesh
from fedjax_diffusion.federated import NOT_MEASURED, ClientMapping, ServerUpdate
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.simulator import make_simulator
from tests.federated.problems import NUM_CLIENTS, TRAINING, init_params, loss_fn, make_data

KEY = seed_to_key(0)
EMA_DECAY = 0.75
ROUNDS = (
    ([0, 1, 2], [8, 8, 4]),
    ([0, 2, 4], [32, 0, 16]),
    ([1, 3, 4], [1, 12, 5]),
    ([0, 1, 3], [0, 6, 32]),
)
"""Cohorts and their bits."""


TRACES = collections.defaultdict(list)
"""By number of devices: an entry for each trace of the server's update, one per trace of a step."""


def plain_server(num_devices):
    """Federated averaging, ``sgd(1.0)``, that counts its traces."""
    sgd = optax.sgd(1.0)

    def update(updates, state, params=None):
        TRACES[num_devices].append("update")
        return sgd.update(updates, state, params)

    return optax.GradientTransformation(sgd.init, update)


@functools.cache
def simulator_of(num_devices, server_optimizer=None, loss_fn=loss_fn):
    return make_simulator(
        init_params,
        dataclasses.replace(TRAINING, loss_fn=loss_fn),
        mapping=ClientMapping(mesh=make_mesh(num_devices)),
        server=ServerUpdate(server_optimizer or plain_server(num_devices), EMA_DECAY),
    )


@functools.cache
def data_on(num_devices):
    mesh = make_mesh(num_devices)
    if mesh is None:
        return make_data()
    return jax.device_put(make_data(), NamedSharding(mesh, PartitionSpec()))


def play(simulator, state, round, key=KEY, data=None):
    cohort, num_bits = (np.array(values, np.int32) for values in round)
    data = data_on(1) if data is None else data
    return simulator.step(key, state, SimpleNamespace(num_bits=num_bits), cohort, data)


class Trajectory(NamedTuple):
    """The states before and after each of ``ROUNDS``, what was measured, and JAX's own work."""

    states: list
    infos: list
    num_traces: list
    num_compilations: list


def test_parameters_that_are_no_arrays_of_floats_are_refused():
    for leaf, said in ((0.5, "is a float, no array"), (np.int32(3), "is int32; floating-point")):
        simulator = make_simulator(lambda key, w=leaf: {"w": w}, TRAINING)
        with pytest.raises(ValueError, match=rf"^tensor \['w'\] {said}"):
            simulator.init(KEY, make_data())


@functools.cache
def trajectory(num_devices):
    simulator, data = simulator_of(num_devices), data_on(num_devices)
    record = Trajectory([simulator.init(KEY, data)], [], [], [])
    compilations = []

    def on_duration(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            compilations.append(duration)

    jax.monitoring.register_event_duration_secs_listener(on_duration)
    try:
        for round in ROUNDS:
            state, info = play(simulator, record.states[-1], round, data=data)
            record.states.append(state)
            record.infos.append(info)
            record.num_traces.append(len(TRACES[num_devices]))
            record.num_compilations.append(len(compilations))
    finally:
        jax.monitoring.unregister_event_duration_listener(on_duration)
    return record


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


def is_equal(a, b):
    return jax.tree.all(jax.tree.map(np.array_equal, jax.device_get(a), jax.device_get(b)))


def test_a_fresh_state_has_measured_nothing():
    state = trajectory(1).states[0]
    assert int(state.round) == 0
    assert np.asarray(state.range_variance).tolist() == [NOT_MEASURED] * NUM_CLIENTS
    assert float(state.update_squared_norm) == NOT_MEASURED
    assert_equal(state.ema_params, state.params)
    assert_equal(simulator_of(1).init(KEY, data_on(1)), state)
    assert not is_equal(simulator_of(1).init(seed_to_key(1), data_on(1)).params, state.params)


@pytest.mark.parametrize("num_devices", [1, 8])
def test_init_for_an_accelerator_runs_on_the_cpu_and_gives_the_same_state(num_devices, monkeypatch):
    expected, data = trajectory(num_devices).states[0], data_on(num_devices)
    monkeypatch.setattr("fedjax_diffusion.federated.program.jax.default_backend", lambda: "gpu")
    assert_equal(state := simulator_of.__wrapped__(num_devices).init(KEY, data), expected)
    assert jax.tree.all(jax.tree.map(lambda x, y: x.devices() == y.devices(), state, expected))


def test_a_step_leaves_its_state_alone_and_repeats_itself():
    state = trajectory(1).states[1]
    before = jax.tree.map(np.array, state)
    first, again = (play(simulator_of(1), state, ROUNDS[1]) for _ in range(2))
    assert_equal(first, again)
    assert_equal(state, before)
    assert not is_equal(first[0].params, before.params)
    assert int(first[0].round) == int(before.round) + 1


def test_a_step_in_a_program_of_the_callers_leaves_nothing_in_the_simulator():
    """The placed key, which a simulator keeps, is a tracer there."""
    state, key = trajectory(1).states[0], seed_to_key(5)
    traced, _ = jax.eval_shape(lambda s: play(simulator_of(1), s, ROUNDS[0], key), state)
    played, _ = play(simulator_of(1), state, ROUNDS[0], key)
    assert jax.tree.map(jnp.shape, played) == jax.tree.map(jnp.shape, traced)


@pytest.mark.parametrize("num_devices", [1, 8])
def test_all_rounds_share_one_program(num_devices):
    """One trace of the step; after the first round nothing at all is compiled."""
    record = trajectory(num_devices)
    assert record.num_traces == [1] * len(ROUNDS)
    assert record.num_compilations[0] >= 1, "the listener hears of compilations"
    assert record.num_compilations == record.num_compilations[:1] * len(ROUNDS)


def test_eight_devices_agree_with_one():
    ours, theirs = trajectory(8), trajectory(1)
    for state, expected in zip(ours.states, theirs.states, strict=True):
        assert all(len(x.devices()) == 8 for x in jax.tree.leaves(state))
        assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(state))
        assert_close(jax.device_get(state), expected, rtol=1e-4, atol=2e-6)
    for info, expected in zip(ours.infos, theirs.infos, strict=True):
        np.testing.assert_array_equal(info.clients.is_included, expected.clients.is_included)
        np.testing.assert_allclose(info.loss, expected.loss, rtol=1e-5)


@pytest.mark.parametrize("num_devices", [1, 8])
def test_a_resumed_trajectory_is_the_uninterrupted_one(num_devices):
    """Through NumPy and back after two rounds, as a checkpoint does."""
    record = trajectory(num_devices)
    on_host = jax.tree.map(np.array, record.states[2])
    state = jax.tree.map(jnp.asarray, on_host)
    if num_devices > 1:
        state = jax.device_put(state, NamedSharding(make_mesh(num_devices), PartitionSpec()))
    for i in (2, 3):
        played = play(simulator_of(num_devices), state, ROUNDS[i], data=data_on(num_devices))
        assert_equal(played, (record.states[i + 1], record.infos[i]))
        state = played[0]


def test_the_ema_follows_its_formula():
    states = trajectory(1).states
    average = states[0].params
    for state in states[1:]:
        average = jax.tree.map(
            lambda e, w: EMA_DECAY * e + (1 - EMA_DECAY) * w, average, state.params
        )
        assert_close(state.ema_params, average)
    assert not is_equal(states[-1].ema_params, states[-1].params)


def test_only_who_uploads_is_measured():
    states, infos, *_ = trajectory(1)
    expected = np.full((NUM_CLIENTS, len(BIT_WIDTHS)), NOT_MEASURED, np.float32)
    for (cohort, num_bits), state, info in zip(ROUNDS, states[1:], infos, strict=True):
        for m, client in enumerate(cohort):
            if num_bits[m] > 0:
                expected[client] = info.clients.bit_width_error[m]
        np.testing.assert_array_equal(state.bit_width_error, expected)
        np.testing.assert_array_equal(state.range_variance, expected[:, 0])
        assert float(state.update_squared_norm) == float(info.update_squared_norm) > 0
    assert (expected[:, :-1] > 0).all(), "everybody has uploaded by now"


def test_a_round_measures_what_it_says():
    """With the plain server the new model is the old one plus the mean update."""
    states, infos, *_ = trajectory(1)
    sizes = np.asarray(make_data().num_examples)
    for (cohort, num_bits), before, after, info in zip(
        ROUNDS, states[:-1], states[1:], infos, strict=True
    ):
        weight = sizes[cohort] * (np.array(num_bits) > 0)
        weight = weight / weight.sum()
        np.testing.assert_allclose(info.clients.weight, weight, rtol=1e-6)
        np.testing.assert_allclose(info.loss, weight @ np.asarray(info.clients.loss), rtol=1e-5)
        bound = weight**2 @ np.asarray(info.clients.error_bound)
        np.testing.assert_allclose(info.quantization_error_bound, bound, rtol=1e-5)
        steps = jax.tree.map(lambda a, b: np.sum(np.square(a - b)), after.params, before.params)
        energy = jax.tree.reduce(operator.add, steps)
        np.testing.assert_allclose(info.update_squared_norm, energy, rtol=1e-3)


@pytest.mark.parametrize("why", ["no bits", "all diverge"])
def test_when_nobody_takes_part_the_state_stays(why):
    state = trajectory(1).states[2]
    num_bits = [8, 8, 8]
    if why == "no bits":
        num_bits = [0, 0, 0]
    else:
        state = state.replace(params=jax.tree.map(lambda w: w * jnp.nan, state.params))
    after, info = play(simulator_of(1), state, ([0, 1, 2], num_bits))
    assert np.isnan(info.loss)
    assert not np.asarray(info.clients.is_included).any()
    assert float(info.update_squared_norm) == float(info.quantization_error) == 0
    assert float(info.quantization_error_bound) == 0
    assert_equal(after.replace(round=state.round, ema_params=state.ema_params), state)
    assert int(after.round) == int(state.round) + 1


def test_the_server_optimizer_takes_the_mean_update_as_a_negative_gradient():
    """Momentum by hand: m <- 0.9 m + u, w <- w + 0.7 m, with u from the plain server."""
    simulator = simulator_of(1, server_optimizer=optax.sgd(0.7, momentum=0.9))
    state = simulator.init(KEY, data_on(1))
    plain_state = simulator_of(1).init(KEY, data_on(1))
    momentum = jax.tree.map(jnp.zeros_like, state.params)
    for round in ROUNDS:
        reference, _ = play(
            simulator_of(1), plain_state.replace(round=state.round, params=state.params), round
        )
        momentum = jax.tree.map(
            lambda m, new, old: 0.9 * m + (new - old), momentum, reference.params, state.params
        )
        expected = jax.tree.map(lambda w, m: w + 0.7 * m, state.params, momentum)
        state, _ = play(simulator, state, round)
        assert_close(state.params, expected, rtol=1e-4, atol=1e-5)


def test_seed_and_round_draw_the_batches():
    """The loss here uses no key and nothing is quantized: only the batches can differ."""

    def quiet_loss_fn(params, batch, key):
        del key
        x = batch.images.reshape(batch.images.shape[0], -1)
        return jnp.mean(jnp.square(x @ params["w"]))

    simulator = simulator_of(1, loss_fn=quiet_loss_fn)
    state = simulator.init(KEY, data_on(1))
    round = ([2, 3, 4], [32, 32, 32])
    losses = {
        (seed, number): float(
            play(simulator, state.replace(round=jnp.int32(number)), round, seed_to_key(seed))[
                1
            ].loss
        )
        for seed in (0, 1, 2)
        for number in (0, 1)
    }
    assert len(set(losses.values())) == len(losses)


@pytest.mark.parametrize("ema_decay", [-0.1, 1.0])
def test_a_bad_decay_is_refused(ema_decay):
    with pytest.raises(ValueError, match=r"ema_decay must be in \[0, 1\)"):
        ServerUpdate(ema_decay=ema_decay)
