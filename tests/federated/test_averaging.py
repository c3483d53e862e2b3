"""Averages of the updates: against sorting by hand, in every mapping, with clients that fail."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.federated import (
    Averaging,
    SharedInputs,
    make_client_map,
    make_round,
    make_server_update,
)
from tests.federated.problems import NUM_CLIENTS, go_halfway, make_data, train_halfway
from tests.federated.test_round import (
    KEY,
    MAPS,
    PARAMS,
    SERVER,
    assert_close,
    cohort_of,
)

EXACT = [32] * NUM_CLIENTS
AS_THEY_ARE, NO_LIMIT = (1,) * NUM_CLIENTS, 1e30
"""Factors and limit that change nothing, so that one program serves all tests of an average."""
MAPPED = {"trimmed_mean": ("chunked:2 on 2 devices", "model")}
"""How an average is played, and the mode, if not one client after the other, of updates."""


@functools.cache
def round_fn_of(name, average, mode):
    """A round whose numbers are hyperparameters: ``(num_trimmed, max_update_norm)``."""
    averaging = lambda numbers: Averaging(average, *numbers)  # noqa: E731
    client_map, server_update = make_client_map(MAPS[name]), make_server_update(SERVER)
    return jax.jit(
        make_round(train_halfway, client_map, server_update, mode=mode, averaging=averaging)
    )


def play(
    average="mean",
    numbers=(1, NO_LIMIT),
    factors=AS_THEY_ARE,
    num_bits=EXACT,
    weight=None,
):
    name, mode = MAPPED.get(average, ("map", "update"))
    numbers = jax.tree.map(jnp.float32, numbers)
    shared = SharedInputs(KEY, jnp.int32(4), PARAMS, make_data(), numbers)
    factor = None if factors is None else jnp.asarray(factors, jnp.float32)
    cohort = dataclasses.replace(cohort_of(num_bits), update_factor=factor)
    if weight is not None:
        cohort = dataclasses.replace(cohort, weight=weight)
    opt_state = SERVER.optimizer.init(PARAMS)
    return round_fn_of(name, average, mode)(shared, cohort, opt_state)


def trained(client):
    return go_halfway(PARAMS, client)


def trim_by_hand(values, num_trimmed):
    ordered = np.sort(values, axis=0)
    num_trimmed = min(num_trimmed, (len(values) - 1) // 2)
    return ordered[num_trimmed : len(values) - num_trimmed].mean(axis=0)


def test_the_averages_are_those_of_sorting_by_hand():
    rng = np.random.default_rng(0)
    updates = rng.normal(size=(7, 3, 4)).astype(np.float32)
    combine = {
        "trimmed_mean": jax.jit(lambda n, *given: Averaging("trimmed_mean", n).combine(*given)),
        "median": jax.jit(lambda *given: Averaging("median").combine(*given)),
    }
    for num_included in range(1, 8):
        is_included = np.isin(np.arange(7), rng.permutation(7)[:num_included])
        given = np.where(is_included[:, None, None], updates, np.float32(0)), is_included
        for num_trimmed in (1, 2, 9):
            combined = combine["trimmed_mean"](np.float32(num_trimmed), *given)
            expected = trim_by_hand(updates[is_included], num_trimmed)
            np.testing.assert_allclose(combined, expected, rtol=1e-5, atol=1e-6)
        expected = np.median(updates[is_included], axis=0)
        combined = combine["median"](*given)
        np.testing.assert_allclose(combined, expected, rtol=1e-5, atol=1e-6)
    assert (combine["median"](updates, np.zeros(7, bool)) == 0).all()
    largest = np.full_like(updates, 3e38)
    assert (combine["median"](largest, np.arange(7) < 2) == largest[0]).all()


def test_a_mapping_gives_the_trimmed_mean_of_the_models():
    outcome = play("trimmed_mean", num_bits=[32, 32, 0, 32, 32])
    models = [trained(client) for client in (0, 1, 3, 4)]
    expected = jax.tree.map(lambda *ws: trim_by_hand(np.stack(ws), 1), *models)
    assert_close(outcome.params, expected)
    assert outcome.clients.is_included.tolist() == [True, True, False, True, True]


def test_the_median_stays_among_the_healthy_clients():
    outcome = play("median", factors=[1, -1e6, 1, 1e9, 1])
    assert outcome.clients.is_included.all(), "no update is refused"
    healthy = [trained(client) for client in (0, 2, 4)]
    for entry, *others in zip(*map(jax.tree.leaves, (outcome.params, *healthy)), strict=True):
        assert (entry >= np.min(others, axis=0) - 1e-5).all()
        assert (entry <= np.max(others, axis=0) + 1e-5).all()
    mean = play("mean", factors=[1, -1e6, 1, 1e9, 1])
    assert max(float(abs(w).max()) for w in jax.tree.leaves(mean.params)) > 1e5


def test_without_clients_every_average_keeps_the_model():
    for average in ("mean", "trimmed_mean", "median"):
        for num_bits, factor in ((0, 1.0), (32, np.nan)):
            num_bits, factors = [num_bits] * NUM_CLIENTS, [factor] * NUM_CLIENTS
            outcome = play(average, num_bits=num_bits, factors=factors)
            assert not outcome.clients.is_included.any()
            jax.tree.map(np.testing.assert_array_equal, outcome.params, PARAMS)


def test_the_median_counts_clients_without_examples_and_the_mean_does_not():
    for average in ("mean", "median"):
        outcome = play(average, weight=np.zeros(NUM_CLIENTS, np.float32))
        expected = play("median") if average == "median" else play(average, num_bits=[0] * 5)
        assert outcome.is_any == (average == "median")
        jax.tree.map(np.testing.assert_array_equal, outcome.params, expected.params)
        assert outcome.update_squared_norm == expected.update_squared_norm


def test_a_factor_of_1_changes_no_bit_and_one_that_is_nan_is_an_absent_client():
    """A limit far above changes none, either."""
    plain = play(numbers=(1, None), factors=None, num_bits=[8] * NUM_CLIENTS)
    healthy = play(num_bits=[8] * NUM_CLIENTS)
    jax.tree.map(np.testing.assert_array_equal, plain.params, healthy.params)
    failed = play(factors=[1, 1, np.nan, 1, 1])
    absent = play(num_bits=[32, 32, 0, 32, 32])
    assert failed.clients.is_included.tolist() == [True, True, False, True, True]
    jax.tree.map(np.testing.assert_array_equal, failed.params, absent.params)


def test_an_update_above_the_limit_is_left_out_and_one_below_is_not():
    norms = []
    for client in range(NUM_CLIENTS):
        change = jax.tree.map(np.subtract, trained(client), PARAMS)
        norms.append(np.sqrt(sum(float(np.sum(np.square(w))) for w in jax.tree.leaves(change))))
    limit = np.mean(np.sort(norms)[1:3])
    outcome = play(numbers=(1, limit))
    assert outcome.clients.is_included.tolist() == [bool(norm <= limit) for norm in norms]
    assert outcome.clients.is_included.sum() == 2
    absent = play(numbers=(1, 1e9), num_bits=np.where(np.array(norms) <= limit, 32, 0))
    jax.tree.map(np.testing.assert_array_equal, outcome.params, absent.params)
    beyond = play(numbers=(1, limit), factors=[1e30] * NUM_CLIENTS)
    assert not beyond.clients.is_included.any(), "its square is above float32"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"average": "mode"}, "average must be one of mean, trimmed_mean, median, got"),
        ({"num_trimmed": 0}, r"num_trimmed must be a whole number in 1\.\.16777216, got 0"),
        ({"num_trimmed": 2**24 + 1}, r"num_trimmed must be a whole number in 1\.\.16777216"),
        ({"max_update_norm": 0.0}, r"federated.max_update_norm must be .* in \[1e-37, 3e38\]"),
        ({"max_update_norm": np.nan}, r"federated.max_update_norm must be .* in \[1e-37, 3e38\]"),
        ({"max_update_norm": 1e39}, r"federated.max_update_norm must be .* in \[1e-37, 3e38\]"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Averaging(**fields)
