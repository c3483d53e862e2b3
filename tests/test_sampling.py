"""Drawing: whole batches of one compiled size, the same images for the same key and counter."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.data import images_to_uint8
from fedjax_diffusion.diffusion import Denoiser, make_schedule, sample_ddim
from fedjax_diffusion.keys import Stream, seed_to_key, stream_key
from fedjax_diffusion.sampling import SamplingConfig, make_draw_samples

SHAPE = (4, 3, 1)
SCHEDULE = make_schedule("linear", 6)
CONFIG = SamplingConfig(every_rounds=1, num_samples=70, sampler="ddim", num_steps=3)
PARAMS = {"scale": jnp.float32(0.5)}
DENOISER = Denoiser(
    init=lambda key: PARAMS, apply=lambda params, x_t, t, dropout_key=None: params["scale"] * x_t
)


@functools.cache
def draw_of(num_samples):
    config = dataclasses.replace(CONFIG, num_samples=num_samples)
    return make_draw_samples(config, DENOISER, SCHEDULE, SHAPE)


def test_more_images_than_a_batch_are_drawn_batch_by_batch():
    """Against the sampler itself: batches of 32, the last one cut."""
    key = seed_to_key(0)
    images = draw_of(70)(key, PARAMS, 5)
    assert images.shape == (70, *SHAPE)
    assert images.dtype == np.uint8
    batches = [
        sample_ddim(
            stream_key(key, Stream.SAMPLE, 5, i),
            lambda x_t, t: 0.5 * x_t,
            SCHEDULE,
            (32, *SHAPE),
            num_steps=3,
        )
        for i in range(3)
    ]
    expected = np.asarray(images_to_uint8(jnp.concatenate(batches)[:70]), int)
    np.testing.assert_allclose(images.astype(int), expected, atol=1)  # float32 rounding under jit
    assert len(np.unique(images, axis=0)) == 70


def test_key_counter_and_model_make_the_images():
    draw, key = draw_of(3), seed_to_key(0)
    images = draw(key, PARAMS, 5)
    assert images.shape == (3, *SHAPE)
    np.testing.assert_array_equal(draw(key, PARAMS, 5), images)
    for others in (
        draw(key, PARAMS, 6),
        draw(seed_to_key(1), PARAMS, 5),
        draw(key, {"scale": jnp.float32(0.1)}, 5),
    ):
        assert (others != images).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "euler"}, "sampling.sampler must be one of ancestral, ddim, got 'euler'"),
        ({"every_rounds": 0}, "sampling.every_rounds must be at least 1, got 0"),
        ({"num_samples": 0}, "sampling.num_samples must be at least 1, got 0"),
        ({"num_steps": 0}, "sampling.num_steps must be at least 1, got 0"),
        ({"num_steps": 7}, r"num_steps: 7 is not an integer in 1\.\.6"),
        ({"sampler": "ancestral"}, "num_steps: 3 is not allowed"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_drawn(changes, message):
    with pytest.raises(ValueError, match=message):
        make_draw_samples(dataclasses.replace(CONFIG, **changes), DENOISER, SCHEDULE, SHAPE)
