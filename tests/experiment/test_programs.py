"""Programs shared by runs: what is compiled into them, and what is an input."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.config import to_run_config, with_overrides
from fedjax_diffusion.experiment.optimizers import (
    OPTIMIZERS,
    OptimizerConfig,
    make_optimizer,
    make_round_schedule,
)
from fedjax_diffusion.experiment.programs import find_round_program, list_rates, list_static
from fedjax_diffusion.experiment.training import Learner
from tests.tiny import tiny_config

SHAPE = (8, 8, 1)
CONFIG = to_run_config(tiny_config(model__num_classes=10, round_schedule="cosine"))
COMPUTE = ComputeConfig("map", None, "stock", 1, "resident")
INPUTS = {
    "seed": 5,
    "num_rounds": 9,
    "client_optimizer.learning_rate": 0.5,
    "server_optimizer.learning_rate": 1.0,
    "federated.ema_decay": 0.25,
    "guidance.label_dropout": 0.75,
    "local_work.local_steps": 3,
    "allocator.method": "fixed_bits:4",
    "allocator.time_budget_seconds": 99.0,
    "channel.fading": "none",
    "faults.late": 0.5,
    "federated.num_trimmed": 2,
    "partition.alpha": 0.1,
    "sampling.every_rounds": 7,
    "sampling.fixed_noise": True,
    "checkpoint.keep": 5,
}
"""Settings that are inputs of the programs, or of the host alone, and other values of them."""
COMPILED = {
    "model.channels": 8,
    "diffusion.num_steps": 11,
    "local_work.batch_size": 5,
    "augmentation.random_flip": True,
    "client_optimizer.name": "yogi",
    "client_optimizer.clip_norm": None,
    "federated.mode": "model",
    "federated.proximal_weight": 0.1,
    "federated.ema_decay": 0.0,
    "federated.average": "median",
    "federated.max_update_norm": 3.0,
    "quantization.name": "nearest",
    "round_schedule": "constant",
}
"""Settings that are compiled into the round, or whose presence is."""


def programs_of(config):
    """Returns the functions that a run compiles, and which of its rates there are."""
    learner = Learner(config, SHAPE, mesh=None)
    settings = learner.describe_round(COMPUTE, config.local_work.batch_size)
    round_program = find_round_program(settings)
    rates = jax.tree.structure(list_rates(config))
    return round_program, learner.find_sampler_program(COMPUTE), rates


@pytest.mark.parametrize("key", INPUTS)
def test_runs_that_differ_in_an_input_share_their_programs(key):
    other = with_overrides(CONFIG, {key: INPUTS[key]})
    ours, theirs = programs_of(CONFIG), programs_of(other)
    assert ours[0] is theirs[0]
    assert ours[1] is theirs[1]
    if key != "server_optimizer.learning_rate":  # 1 of the one multiplies nothing
        assert ours[2] == theirs[2]
        assert list_static(CONFIG) == list_static(other)


@pytest.mark.parametrize("key", COMPILED)
def test_runs_that_differ_in_what_is_compiled_do_not(key):
    other = with_overrides(CONFIG, {key: COMPILED[key]})
    ours, theirs = programs_of(CONFIG), programs_of(other)
    assert ours[0] is not theirs[0] or ours[2] != theirs[2]
    assert list_static(CONFIG) != list_static(other)


def test_clients_that_may_diverge_by_a_fault_are_another_program_of_the_same_functions():
    other = with_overrides(CONFIG, {"faults.diverging": 0.5})
    assert programs_of(CONFIG)[0] is programs_of(other)[0], "it has one more input"
    assert list_static(CONFIG) != list_static(other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_traced_rate_gives_the_bits_of_a_constant(name):
    """Fifty steps; the program differs in nothing else, so neither do its roundings."""
    config = OptimizerConfig(name, 0.0173, momentum=0.9, weight_decay=0.037)
    start = jnp.array([3.0, -2.0, 0.7])

    def train(rates):
        optimizer = make_optimizer(config.static, rates)

        def step(carry, _):
            w, state = carry
            updates, state = optimizer.update(jnp.sin(w), state, w)
            return (optax.apply_updates(w, updates), state), None

        return jax.lax.scan(step, (start, optimizer.init(start)), length=50)[0][0]

    constant = jax.jit(lambda: train(config.rates))()
    traced = jax.jit(train)(jax.tree.map(np.float32, config.rates))
    np.testing.assert_array_equal(traced, constant)


def test_a_cosine_of_a_traced_number_of_rounds_is_that_of_optax():
    factors = jax.jit(lambda num_rounds: make_round_schedule("cosine", num_rounds)(jnp.arange(31)))
    expected = optax.cosine_decay_schedule(1.0, 30)(jnp.arange(31))
    np.testing.assert_allclose(factors(np.float32(30)), expected, rtol=1e-6, atol=1e-7)
