"""The pure step: compiled it is a step; vmapped over keys and states it plays a round of S runs."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.federated import ClientMapping, gather_inputs
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.simulator import make_simulator
from tests.federated.problems import TRAINING, WORK, init_params, make_data

KEYS = [seed_to_key(seed) for seed in (0, 1, 2)]
ROUNDS = [(np.array([0, 2, 4]), np.array([4, 0, 16])), (np.array([1, 2, 4]), np.array([1, 12, 5]))]
"""Cohorts and their bits."""


@functools.cache
def simulator_of(name="map"):
    """Returns a simulator whose state has all fields and whose reports have the codes."""
    quantization = QuantizationConfig(error_feedback=True, entropy_coding=True)
    mapping = ClientMapping(name)
    return make_simulator(init_params, TRAINING, mapping=mapping, quantization=quantization)


play_run = jax.jit(simulator_of().pure_step)


def init_run(key):
    return simulator_of().init(key, make_data())


def inputs_of(round):
    return gather_inputs(*round, make_data().num_examples, WORK)


def pick_run(tree, s):
    """Returns run s of a tree with a leading axis of runs [S]."""
    return jax.tree.map(lambda x: np.asarray(x)[s], tree)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


def assert_codes_agree(a, b):
    a, b = np.asarray(a, int), np.asarray(b, int)
    assert np.abs(a - b).max() <= 1
    assert np.mean(a != b) <= 1e-3


def test_a_step_is_the_pure_step_of_the_inputs_gathered():
    simulator, data = simulator_of(), make_data()
    (cohort, num_bits), state = ROUNDS[0], init_run(KEYS[0])
    stepped = simulator.step(KEYS[0], state, SimpleNamespace(num_bits=num_bits), cohort, data)
    assert_equal(play_run(KEYS[0], state, inputs_of(ROUNDS[0]), data), stepped)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_init_vmapped_over_seeds_gives_the_state_of_each(platform, monkeypatch):
    simulator, data = simulator_of(), make_data()
    expected = [init_run(key) for key in KEYS]
    monkeypatch.setattr("fedjax_diffusion.federated.program.jax.default_backend", lambda: platform)
    states = jax.vmap(simulator.init, in_axes=(0, None))(jnp.stack(KEYS), data)
    for s, state in enumerate(expected):
        assert_equal(pick_run(states, s), state)


@pytest.mark.parametrize("name", ["map", "vmap"])
def test_a_pure_step_vmapped_over_seeds_plays_the_round_of_each(name):
    """S runs in one program, to 1e-5; of the codes at most 1 in 1,000 differs, by one step.

    Each is played with its clients one after the other.
    """
    simulator, data = simulator_of(name), make_data()
    play_runs = jax.jit(jax.vmap(simulator.pure_step, in_axes=(0, 0, None, None)))
    states = jax.vmap(simulator.init, in_axes=(0, None))(jnp.stack(KEYS), data)
    for round in ROUNDS:
        inputs, before = inputs_of(round), states
        states, infos = play_runs(jnp.stack(KEYS), before, inputs, data)
        for s, key in enumerate(KEYS):
            expected = play_run(key, pick_run(before, s), inputs, data)
            ours = pick_run((states, infos), s)
            assert_codes_agree(*(info.clients.upload.codes for _, info in (ours, expected)))
            assert_close(ours, expected)
    weights = np.asarray(states.params["w"])
    assert (weights[0] != weights[1]).any()
    assert (weights[1] != weights[2]).any()
