"""Keys: everything that says where a number is drawn gives another key, and nothing else does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.keys import Stream, seed_to_key, step_key, stream_key, stream_seed

RUN_KEY = seed_to_key(0)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, 1.0, True, np.int64(-1), np.uint64(2**63)])
def test_a_seed_that_shares_the_key_of_another_is_refused(seed):
    with pytest.raises(ValueError, match=r"^seed must be a whole number in 0\.\.4294967295, got "):
        seed_to_key(seed)
    largest = to_numbers(seed_to_key(np.uint32(2**32 - 1)))
    np.testing.assert_array_equal(largest, [0, 2**32 - 1])


def to_numbers(key):
    return np.asarray(jax.random.key_data(key))


def test_the_numbers_of_the_streams_stay():
    """They are part of every result: a renumbered stream draws other numbers."""
    assert {stream.name: stream.value for stream in Stream} == {
        "PARTITION": 0,
        "FLEET": 1,
        "INIT": 2,
        "COHORT": 3,
        "SHADOWING": 4,
        "FADING": 5,
        "BATCH": 6,
        "LOSS": 7,
        "QUANTIZE": 8,
        "SAMPLE": 9,
        "DOWNLINK": 10,
        "FAULT": 11,
    }


def test_seeds_streams_rounds_and_clients_give_distinct_keys():
    keys = [
        stream_key(run_key, stream, round, client)
        for run_key in (seed_to_key(0), seed_to_key(1))
        for stream in Stream
        for round in (0, 1, 7)
        for client in (None, 0, 1, 5)
    ]
    keys += [step_key(key, step) for key in keys[:4] for step in (10, 11)]
    assert len(np.unique([to_numbers(key) for key in keys], axis=0)) == len(keys) == 296


def test_a_key_is_three_folds_in_a_row():
    """The definition, spelled out: another order would change every result."""
    expected = jax.random.key(3, impl="threefry2x32")
    for number in (6, 2, 4):
        expected = jax.random.fold_in(expected, number)
    key = stream_key(seed_to_key(3), Stream.BATCH, 2, 4)
    np.testing.assert_array_equal(to_numbers(key), to_numbers(expected))


def test_a_traced_key_is_the_concrete_one():
    def make_key(round, client):
        return step_key(stream_key(RUN_KEY, Stream.LOSS, round, client), client + 1)

    rounds, clients = jnp.arange(4), jnp.arange(4)[::-1]
    traced = jax.jit(jax.vmap(make_key))(rounds, clients)
    concrete = [make_key(int(r), int(c)) for r, c in zip(rounds, clients, strict=True)]
    np.testing.assert_array_equal(to_numbers(traced), [to_numbers(key) for key in concrete])


def test_streams_on_the_host_differ_by_seed_and_stream():
    draws = {
        (seed, stream): np.random.default_rng(stream_seed(seed, stream)).integers(2**63)
        for seed in (0, 1)
        for stream in (Stream.PARTITION, Stream.FLEET)
    }
    assert len(set(draws.values())) == len(draws)
