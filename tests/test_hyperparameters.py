"""Hyperparameters of a simulator: inputs of one program, with the numbers of constants."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fedjax_diffusion.federated import ClientMapping, ServerUpdate, gather_inputs
from fedjax_diffusion.federated.program import make_program
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.quantization import QuantizationConfig
from fedjax_diffusion.simulator import bind, make_simulator
from tests.federated.problems import TRAINING, WORK, init_params, make_data

KEY = seed_to_key(3)
COHORT = np.array([0, 2, 4])
NUM_BITS = SimpleNamespace(num_bits=np.array([8, 0, 32]))
RATES = tuple(
    jax.tree.map(np.float32, rates)
    for rates in (
        {"client": 0.1, "mu": 0.3, "server": 0.7, "ema": 0.9},
        {"client": 0.2, "mu": 0.0, "server": 1.1, "ema": 0.5},
    )
)
DATA = make_data()


def make_training(rates):
    return dataclasses.replace(
        TRAINING, optimizer=optax.sgd(rates["client"]), proximal_weight=rates["mu"]
    )


def make_server(rates):
    return ServerUpdate(optax.sgd(rates["server"], momentum=0.5), rates["ema"])


@functools.cache
def program():
    return make_program(
        init_params,
        make_training,
        mapping=ClientMapping(),
        server=make_server,
        mode="update",
        quantization=QuantizationConfig(),
        donate_state=False,
    )


def play(simulator):
    return simulator.step(KEY, simulator.init(KEY, DATA), NUM_BITS, COHORT, DATA)


def assert_close(ours, theirs):
    """Up to the rounding of a program whose constants are merged with others."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), ours, theirs)


def test_simulators_of_one_program_play_as_one_with_constants():
    compilations = []

    def on_duration(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            compilations.append(duration)

    play(bind(program(), WORK, RATES[0]))
    jax.monitoring.register_event_duration_secs_listener(on_duration)
    try:
        state, info = play(bind(program(), WORK, RATES[1]))
    finally:
        jax.monitoring.unregister_event_duration_listener(on_duration)
    assert not compilations
    rates = jax.tree.map(float, RATES[1])
    expected, expected_info = play(
        make_simulator(init_params, make_training(rates), server=make_server(rates))
    )
    assert_close(
        (state.params, state.ema_params, state.opt_state, info.loss),
        (expected.params, expected.ema_params, expected.opt_state, expected_info.loss),
    )


def test_a_pure_step_takes_the_hyperparameters_of_each_run():
    simulator = bind(program(), WORK, RATES[0])
    state = simulator.init(KEY, DATA)
    inputs = gather_inputs(COHORT, NUM_BITS.num_bits, DATA.num_examples, WORK)
    stacked = jax.tree.map(lambda *xs: jnp.array(xs), *RATES)
    play_runs = jax.jit(jax.vmap(simulator.pure_step, in_axes=(None, None, None, None, 0)))
    states, _ = play_runs(KEY, state, inputs, DATA, stacked)
    for s, rates in enumerate(RATES):
        expected, _ = play(bind(program(), WORK, rates))
        assert_close(jax.tree.map(lambda x, s=s: x[s], states.params), expected.params)


def test_a_traced_number_is_not_checked():
    with pytest.raises(ValueError, match="proximal_weight must be at least 0"):
        dataclasses.replace(TRAINING, proximal_weight=-1.0)
    dataclasses.replace(TRAINING, proximal_weight=jnp.float32(-1.0))
