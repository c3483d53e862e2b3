"""The draws: a function of key, row and column, uniform, and independent as far as one can see."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.keys import Stream, seed_to_key, stream_key
from fedjax_diffusion.quantization.counter_random import counter_uniform
from tests.each import check_each

SHAPE = (4096, 128)
NUM_DRAWS = SHAPE[0] * SHAPE[1]

draw = jax.jit(functools.partial(counter_uniform, shape=SHAPE))
draw_in_turn = jax.jit(lambda keys: jax.lax.map(draw, keys))


@functools.cache
def draws(seed):
    """Returns float64 [4096, 128] of one key."""
    return np.asarray(draw(jax.random.key(seed)), np.float64)


def normalized(u):
    """Returns draws with mean 0 and variance 1, where they are uniform."""
    return (u - 0.5) * np.sqrt(12)


def assert_uncorrelated(x, y):
    """The mean of n products of independent numbers with variance 1 has variance 1 / n."""
    assert abs(np.mean(x * y)) <= 5 / np.sqrt(x.size)


@pytest.mark.parametrize("seed", range(3))
def test_draws_are_multiples_of_two_to_the_minus_24_below_one(seed):
    words = draws(seed) * 2**24
    np.testing.assert_array_equal(words, np.floor(words))
    assert words.min() >= 0
    assert words.max() < 2**24


def test_every_eight_bits_of_a_draw_are_uniform():
    def check(seed, low_bits):
        bins = (draws(seed) * 2**24).astype(np.int64).ravel() >> low_bits & 255
        counts = np.bincount(bins, minlength=256)
        chi_square = (np.square(counts - NUM_DRAWS / 256) / (NUM_DRAWS / 256)).sum()
        assert abs(chi_square - 255) <= 5 * np.sqrt(2 * 255)

    check_each(itertools.product(range(3), [0, 4, 8, 12, 16]), check)


def test_how_often_a_draw_lies_below():
    def check(probability):
        count = sum((draws(seed) < probability).sum() for seed in range(8))
        variance = 8 * NUM_DRAWS * probability * (1 - probability)
        assert abs(count - 8 * NUM_DRAWS * probability) <= 5 * np.sqrt(variance)

    check_each([1e-5, 1e-3, 0.1, 0.5, 0.9, 1 - 1e-3, 1 - 1e-5], check)


def test_neighbours_are_uncorrelated():
    def check(lag, axis):
        u = normalized(np.moveaxis(draws(0), axis, 0))
        assert_uncorrelated(u[lag:], u[:-lag])
        assert_uncorrelated(u[lag:], np.sqrt(1.25) * (np.square(u[:-lag]) - 1))

    check_each(itertools.product([1, 2, 3, 16, 64], [0, 1]), check)


def test_columns_are_uncorrelated():
    """All 8128 pairs: their correlations have variance 1 / n, together and the largest of them.

    Beyond 6 sigma lies one pair of 5e8, so one of 8128 is as rare as 5 sigma of a single number.
    """
    u = normalized(draws(1))
    correlation = u.T @ u / SHAPE[0]
    pairs = correlation[np.triu_indices(SHAPE[1], 1)] * np.sqrt(SHAPE[0])
    assert np.abs(pairs).max() <= 6
    # The kurtosis of a product of uniforms is 1.8^2: their squares' variance is 2.24 plus 1 / n.
    assert abs(np.square(pairs).mean() - 1) <= 5 * np.sqrt(2.3 / pairs.size)


@pytest.mark.parametrize("step", [1, 128])
def test_pairs_fill_the_square(step):
    u = np.floor(draws(2) * 32).astype(np.int64).ravel()
    counts = np.bincount(u[step::2][: NUM_DRAWS // 4] * 32 + u[::2][: NUM_DRAWS // 4])
    expected = NUM_DRAWS / 4 / 1024
    chi_square = (np.square(counts - expected) / expected).sum()
    assert abs(chi_square - 1023) <= 5 * np.sqrt(2 * 1023)


def test_rounds_clients_and_seeds_are_uncorrelated():
    """Same place, other key: three rounds of three clients, and two neighbouring seeds."""
    stream = functools.partial(stream_key, seed_to_key(0), Stream.QUANTIZE)
    keys = [stream(round, client) for round in range(3) for client in range(3)]
    keys += [jax.random.key(0), jax.random.key(1)]
    in_turn = np.asarray(draw_in_turn(jnp.stack(keys)), np.float64)
    np.testing.assert_array_equal(in_turn[-1], draws(1), "as alone")
    u = normalized(in_turn).reshape(len(keys), -1)
    for i in range(len(keys)):
        for j in range(i):
            assert_uncorrelated(u[i], u[j])


def test_draws_depend_on_place_and_key_alone():
    keys = [jax.random.key(seed) for seed in range(3)]
    alone = np.stack([draw(key) for key in keys])
    draw_all = jax.jit(jax.vmap(functools.partial(counter_uniform, shape=(7, 128))))
    np.testing.assert_array_equal(draw_all(jnp.stack(keys)), alone[:, :7])
    draw_few = jax.jit(functools.partial(counter_uniform, shape=(3, 50)))
    np.testing.assert_array_equal(draw_few(keys[0]), alone[0, :3, :50])


def test_rows_do_not_begin_again_after_two_to_the_32_entries():
    """Only the rows that are looked at are computed: the slice is fused into the draw."""
    first = 2**25  # times 128 entries
    far = jax.jit(lambda key: counter_uniform(key, (first + 64, 128))[first:])(jax.random.key(0))
    near = draws(0)[:64]
    assert not (np.asarray(far) == near).all(axis=1).any()
    assert_uncorrelated(normalized(np.asarray(far, np.float64)), normalized(near))


def test_no_row_of_one_key_comes_back_in_another():
    """Two draws of 24 bits tell 2^20 rows apart: 0.002 pairs would be equal by chance."""
    draw_two = jax.jit(functools.partial(counter_uniform, shape=(2**19, 2)))
    u = np.concatenate([draw_two(jax.random.key(seed)) for seed in range(2)]).astype(np.float64)
    words = (u[:, 0] * 2**24 + u[:, 1]) * 2**24
    assert len(np.unique(words)) == len(words)
