"""Batches of one client: passes without replacement, uniform, and the same under every mapping."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.data import (
    ImageDataset,
    draw_batch,
    images_to_uint8,
    make_client_data,
    uint8_to_images,
)

SIZES = (1, 3, 7, 10)  # examples per client; N_max = 10


@pytest.fixture(scope="module")
def dataset():
    """21 images whose label is their index, so that a batch says which examples it holds."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (21, 3, 4, 2), np.uint8)
    return ImageDataset(images, np.arange(21, dtype=np.int32), 21, "numbered")


@pytest.fixture(scope="module")
def parts():
    owners = np.random.default_rng(1).permutation(np.repeat(np.arange(4), SIZES))
    return [np.flatnonzero(owners == client) for client in range(4)]


@pytest.fixture(scope="module")
def data(dataset, parts):
    return make_client_data(dataset, parts)


to_uint8 = jax.jit(images_to_uint8)
jit_batch = jax.jit(draw_batch, static_argnames=("batch_size", "random_flip"))


@functools.partial(jax.jit, static_argnames=("num_steps", "batch_size"))
def draw_labels(key, data, client, *, num_steps, batch_size):
    """Returns the labels of consecutive local steps [num_steps * B], by a scan."""

    def body(carry, step):
        return carry, draw_batch(key, data, client, step, batch_size=batch_size).labels

    return jax.lax.scan(body, None, jnp.arange(num_steps))[1].reshape(-1)


@pytest.mark.parametrize(("num_steps", "batch_size"), [(62, 1), (22, 3), (4, 25)])
def test_every_pass_uses_every_example_once(data, parts, num_steps, batch_size):
    """The oracle counts: after p positions each example was used floor or ceil of p / n times."""
    draw = functools.partial(draw_labels, num_steps=num_steps, batch_size=batch_size)
    for client, part in enumerate(parts):
        size, counts = len(part), dict.fromkeys(part.tolist(), 0)
        labels = draw(jax.random.key(3), data, client).tolist()
        for position, label in enumerate(labels, start=1):
            counts[label] += 1
            if position % size == 0:
                assert set(counts.values()) == {position // size}, client
            assert set(counts.values()) <= {position // size, position // size + 1}, client


def test_passes_differ_and_clients_with_other_keys_differ(data):
    draw = functools.partial(draw_labels, data=data, num_steps=22, batch_size=3)
    first, second = (np.asarray(draw(jax.random.key(seed), client=3)) for seed in (0, 1))
    assert len({tuple(row) for row in first[:60].reshape(6, 10).tolist()}) == 6
    assert (first != second).any()


def test_every_place_of_a_pass_is_uniform(data, parts):
    """Example e stands at place i with probability 1/7: 49 counts, each within 5 sigma."""
    num_draws = 4_000
    draw = functools.partial(draw_labels, data=data, client=2, num_steps=7, batch_size=2)
    labels = jax.jit(jax.vmap(lambda key: draw(key)))(make_keys(range(num_draws)))
    for places in np.split(np.asarray(labels), 2, axis=1):  # the first pass and the second
        counts = np.stack([(places == label).sum(axis=0) for label in parts[2]])
        sigma = np.sqrt(num_draws * (1 / 7) * (6 / 7))
        assert np.abs(counts - num_draws / 7).max() < 5 * sigma


def test_order_of_a_pass_is_a_uniform_permutation(data, parts):
    """All 3! orders of client 1, chi-square with 5 degrees of freedom below its mean + 5 sigma."""
    num_draws = 3_000
    draw = functools.partial(draw_labels, data=data, client=1, num_steps=1, batch_size=3)
    labels = jax.jit(jax.vmap(lambda key: draw(key)))(make_keys(range(num_draws)))
    _, counts = np.unique(np.asarray(labels), axis=0, return_counts=True)
    assert counts.shape == (6,)
    expected = num_draws / 6
    assert ((counts - expected) ** 2 / expected).sum() < 5 + 5 * np.sqrt(10)


def make_keys(seeds):
    return jax.random.wrap_key_data(np.array([(0, seed) for seed in seeds], np.uint32))


def test_vmap_over_clients_and_steps_is_the_loop(data):
    draw = functools.partial(draw_batch, batch_size=5, random_flip=True)
    over_steps = jax.vmap(draw, in_axes=(None, None, None, 0))
    over_clients = jax.vmap(over_steps, in_axes=(0, None, 0, None))
    mapped = jax.jit(over_clients)(make_keys(range(4)), data, np.arange(4), np.arange(3))
    images, labels = np.asarray(mapped.images), np.asarray(mapped.labels)
    for client in range(4):
        for step in range(3):
            batch = jit_batch(
                jax.random.key(client), data, client, step, batch_size=5, random_flip=True
            )
            np.testing.assert_array_equal(images[client, step], batch.images)
            np.testing.assert_array_equal(labels[client, step], batch.labels)


def test_batch_holds_the_pictures_of_its_labels(dataset, data):
    batch = jit_batch(jax.random.key(8), data, 3, 0, batch_size=10)
    assert batch.images.shape == (10, 3, 4, 2)
    assert batch.images.dtype == jnp.float32
    expected = dataset.images[np.asarray(batch.labels)] / 127.5 - 1
    np.testing.assert_allclose(batch.images, expected, atol=1e-6)


def test_flip_mirrors_half_of_the_pictures_left_to_right(data):
    key, draw = jax.random.key(9), functools.partial(jit_batch, batch_size=2_000)
    mirrored_in_step = []
    for step in (1, 2):
        plain, flipped = (draw(key, data, 3, step, random_flip=flip) for flip in (False, True))
        np.testing.assert_array_equal(plain.labels, flipped.labels)
        before, after = (np.asarray(to_uint8(batch.images)) for batch in (plain, flipped))
        is_same = (before == after).all(axis=(1, 2, 3))
        is_mirrored = (before[:, :, ::-1] == after).all(axis=(1, 2, 3))
        assert (is_same ^ is_mirrored).all()
        assert abs(is_mirrored.sum() - 1_000) < 5 * np.sqrt(2_000 / 4)
        mirrored_in_step.append(is_mirrored)
    num_equal = (mirrored_in_step[0] == mirrored_in_step[1]).sum()
    assert abs(num_equal - 1_000) < 5 * np.sqrt(2_000 / 4)  # steps flip independently


def test_client_data_stores_images_once(dataset, parts, data):
    np.testing.assert_array_equal(data.images, dataset.images)
    assert data.images.dtype == jnp.uint8
    assert data.num_examples.tolist() == list(SIZES)
    assert data.num_clients == 4
    assert data.indices.shape == (4, 10)
    for client, part in enumerate(parts):
        row = data.indices[client].tolist()
        assert row == part.tolist() + [0] * (10 - len(part))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "at least one client"),
        ([np.array([0]), np.array([], np.int32)], "client 1 must have an example"),
        ([np.array([0, 21])], r"indices must lie in 0\.\.20, got 0\.\.21"),
        ([np.array([-1, 3])], r"indices must lie in 0\.\.20, got -1\.\.3"),
    ],
)
def test_bad_parts(dataset, parts, message):
    with pytest.raises(ValueError, match=message):
        make_client_data(dataset, parts)


def test_client_data_share_no_memory_with_the_data_set(dataset, parts):
    images = dataset.images.copy()
    for _ in range(10):  # whether memory is shared depends on where it lies
        given = dataclasses.replace(dataset, images=images.copy())
        made = make_client_data(given, parts)
        given.images[...] = 0
        np.testing.assert_array_equal(made.images, images)


def test_pixels_and_images_are_inverse():
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 128)
    images = np.array(jax.jit(uint8_to_images)(pixels))
    assert (images.min(), images.max()) == (-1.0, 1.0)
    np.testing.assert_array_equal(to_uint8(images), pixels)
    images[0, :4] = [-2.0, -0.999, 0.999, 7.0]
    assert to_uint8(images)[0, :4].tolist() == [0, 0, 255, 255]


def test_longer_rows_change_no_draw(dataset, parts, data):
    """Batches at N_max = 10 and 64: the order of a pass sorts the first n of the bits alone."""
    longer = make_client_data(dataset, parts, num_slots=64)
    assert longer.indices.shape == (4, 64)
    for client in range(4):
        draws = [
            draw_labels(jax.random.key(5), d, client, num_steps=22, batch_size=3)
            for d in (data, longer)
        ]
        np.testing.assert_array_equal(*draws)
