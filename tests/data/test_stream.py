"""Streamed clients: the same batches as from the device, arrays of one shape for every cohort."""

import jax
import numpy as np
import pytest

from fedjax_diffusion.data import (
    ImageDataset,
    StreamedClients,
    draw_batch,
    make_client_data,
    make_load_resident,
)

RNG = np.random.default_rng(0)
NUM_EXAMPLES = 50
DATASET = ImageDataset(
    RNG.integers(0, 256, (NUM_EXAMPLES, 3, 2, 1), dtype=np.uint8),
    RNG.integers(0, 10, NUM_EXAMPLES).astype(np.int32),
    10,
    "noise",
)
PARTS = [RNG.choice(NUM_EXAMPLES, size, replace=False) for size in (1, 7, 20, 3, 5)]
COHORTS = ([0, 3], [1, 2], [2, 4], [4, 1])
STREAMED = StreamedClients(DATASET, PARTS, cohort_size=2)


@pytest.mark.parametrize("cohort", COHORTS)
def test_a_client_draws_the_batches_that_it_draws_from_the_device(cohort):
    resident = make_load_resident(make_client_data(DATASET, PARTS))(np.array(cohort))
    streamed = STREAMED.load(np.array(cohort))
    assert not np.array_equal(resident.rows, streamed.rows)
    for m in range(2):
        for step in range(3):
            key = jax.random.key(cohort[m])
            batches = [
                draw_batch(key, loaded.data, loaded.rows[m], step, batch_size=4, random_flip=True)
                for loaded in (resident, streamed)
            ]
            jax.tree.map(np.testing.assert_array_equal, *batches)


def test_every_cohort_has_one_shape_with_room_for_the_largest():
    shapes = [jax.tree.map(np.shape, STREAMED.load(np.array(c)).data) for c in COHORTS]
    assert all(shape == shapes[0] for shape in shapes)
    assert shapes[0].images[0] == 20 + 7
    assert STREAMED.num_examples.tolist() == [1, 7, 20, 3, 5]


def test_only_the_cohorts_images_leave_the_host():
    images = np.asarray(STREAMED.load(np.array([0, 3])).data.images)[:4]
    expected = DATASET.images[np.concatenate([PARTS[0], PARTS[3]])]
    np.testing.assert_array_equal(images, expected)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "at least one client"),
        ([np.array([0]), np.array([], int)], "client 1 must have an example"),
        ([np.array([0, 50])], r"must lie in 0\.\.49, got 0\.\.50"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        StreamedClients(DATASET, parts, cohort_size=1)
