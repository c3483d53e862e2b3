"""Local training of one client against a loop written out by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fedjax_diffusion.federated import (
    ClientInputs,
    LocalWork,
    SharedInputs,
    gather_inputs,
    make_train,
)
from fedjax_diffusion.keys import Stream, seed_to_key, step_key, stream_key
from tests.federated.problems import TRAINING, batch_fn, jit_init_params, loss_fn, make_data

KEY = seed_to_key(0)
PARAMS = jit_init_params(seed_to_key(1))
SGD, ADAM = optax.sgd(0.1), optax.adam(0.01)


def inputs_of(client, num_steps):
    values = (client, client, 1.0, 8, num_steps)
    dtypes = (np.int32, np.int32, np.float32, np.int32, np.int32)
    return ClientInputs(*(np.asarray(v, d) for v, d in zip(values, dtypes, strict=True)))


@functools.cache
def make_step_by_hand(optimizer):
    @jax.jit
    def step_by_hand(params, opt_state, client, step, proximal_weight):
        batch = batch_fn(stream_key(KEY, Stream.BATCH, 2, client), make_data(), client, step)
        key = step_key(stream_key(KEY, Stream.LOSS, 2, client), step)

        def total_loss(p):
            apart = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), p, PARAMS)
            penalty = proximal_weight / 2 * sum(jax.tree.leaves(apart))
            return loss_fn(p, batch, key) + penalty

        updates, opt_state = optimizer.update(jax.grad(total_loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss_fn(params, batch, key)

    return step_by_hand


def train_by_hand(client, num_steps, optimizer, proximal_weight):
    start = PARAMS, optimizer.init(PARAMS)
    (params, opt_state), losses = jax.tree.map(np.asarray, start), []  # no weak type: one program
    for step in range(num_steps):
        inputs = np.int32(client), np.int32(step), np.float32(proximal_weight)
        params, opt_state, loss = make_step_by_hand(optimizer)(params, opt_state, *inputs)
        losses.append(float(loss))
    return params, np.mean(losses)


def assert_trains_as_by_hand(train, optimizer, proximal_weight):
    shared = SharedInputs(KEY, np.int32(2), PARAMS, make_data(), np.float32(proximal_weight))
    for client, num_steps in [(0, 1), (3, 4)]:
        params, loss = train(shared, inputs_of(client, num_steps))
        expected, expected_loss = train_by_hand(client, num_steps, optimizer, proximal_weight)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), params, expected
        )
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)


def test_fedprox_matches_a_loop_by_hand():
    """With a weight that is a number of the program; ``test_round.py`` has plain averaging."""
    training = dataclasses.replace(TRAINING, optimizer=SGD, proximal_weight=0.7)
    assert_trains_as_by_hand(jax.jit(make_train(training)), SGD, 0.7)


def test_a_weight_that_is_traced_and_a_state_of_the_optimizer_match_a_loop_by_hand():
    make_training = lambda weight: dataclasses.replace(  # noqa: E731
        TRAINING, optimizer=ADAM, proximal_weight=weight
    )
    train = jax.jit(make_train(make_training))
    for proximal_weight in (0.0, 0.7):
        assert_trains_as_by_hand(train, ADAM, proximal_weight)
    shared = SharedInputs(KEY, np.int32(0), PARAMS, make_data(), np.float32(0.7))
    params, loss = train(shared, inputs_of(0, 0))
    jax.tree.map(np.testing.assert_array_equal, params, PARAMS)
    assert loss == 0, "no steps leave the model as it is"


def test_local_epochs_are_rounded_up_to_whole_batches():
    work = LocalWork(batch_size=4, local_epochs=2)
    assert work.num_steps(np.array([1, 2, 3, 8, 9])).tolist() == [1, 1, 2, 4, 5]
    assert LocalWork(batch_size=4, local_steps=3).num_steps(np.array([1, 9])).tolist() == [3, 3]


def test_gathered_inputs_follow_the_cohort_and_its_rows():
    cohort, num_bits, rows = (np.array(x) for x in ([5, 8, 9], [8, 0, 32], [2, 0, 3]))
    work = LocalWork(batch_size=4, local_epochs=2)
    inputs = gather_inputs(cohort, num_bits, np.array([3, 5, 7, 9]), work, rows=rows)
    assert inputs.client.tolist() == [5, 8, 9]
    assert inputs.row.tolist() == [2, 0, 3]
    assert inputs.weight.tolist() == [7.0, 3.0, 9.0]
    assert inputs.num_bits.tolist() == [8, 0, 32]
    assert inputs.num_steps.tolist() == [4, 0, 5], "without bits no steps"
    assert inputs.client_memory == ()


def test_gathered_inputs_have_the_steps_given_and_ids_for_rows():
    cohort, num_bits, num_examples = (jnp.array(x) for x in ([1, 0], [4, 0], [3, 5]))
    work = LocalWork(batch_size=4, local_epochs=2)
    inputs = gather_inputs(cohort, num_bits, num_examples, work, num_steps=np.array([6, 7]))
    assert inputs.row.tolist() == [1, 0]
    assert inputs.weight.tolist() == [5.0, 3.0]
    assert inputs.num_steps.tolist() == [6, 0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 0, "local_steps": 1}, "local_work.batch_size must be a whole number in 1"),
        ({"batch_size": 1}, "exactly one"),
        ({"batch_size": 1, "local_steps": 1, "local_epochs": 1}, "exactly one"),
        ({"batch_size": 1, "local_steps": 0}, "local_work.local_steps must be a whole number"),
        ({"batch_size": 1, "local_epochs": -1.0}, r"local_work.local_epochs must .* \(0, 1e9\]"),
    ],
)
def test_bad_work_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        LocalWork(**fields)


def test_negative_proximal_weight_is_refused():
    with pytest.raises(ValueError, match="proximal_weight"):
        dataclasses.replace(TRAINING, proximal_weight=-1.0)
