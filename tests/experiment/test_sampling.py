"""Drawing: whole batches of one compiled size, the same images for the same key and counter."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.data import images_to_uint8
from fedjax_diffusion.diffusion import Denoiser, guide, make_schedule, sample_ddim
from fedjax_diffusion.experiment.compute import make_mesh
from fedjax_diffusion.experiment.sampling import (
    SamplingConfig,
    make_draw_samples,
    make_sampler_program,
)
from fedjax_diffusion.keys import Stream, seed_to_key, stream_key

SHAPE = (4, 3, 1)
SCHEDULE = make_schedule("linear", 6)
CONFIG = SamplingConfig(every_rounds=1, num_samples=70, sampler="ddim", num_steps=3, eta=0.7)
PARAMS = {"scale": np.float32(0.5)}
DENOISER = Denoiser(
    init=lambda key: PARAMS, apply=lambda params, x_t, t, dropout_key=None: params["scale"] * x_t
)


def shift_apply(params, x_t, t, dropout_key=None, labels=None):
    """Predicts an eps that depends on the label and on nothing else; no label is -1."""
    return jnp.broadcast_to(params["scale"] * labels.reshape(-1, 1, 1, 1), x_t.shape)


WITH_CLASSES = Denoiser(DENOISER.init, shift_apply, num_classes=3)


@functools.cache
def _program_of(num_devices, denoiser, batch_size, **changes):
    config = dataclasses.replace(CONFIG, num_samples=batch_size, **changes)
    return make_sampler_program(config, denoiser, SCHEDULE, SHAPE, make_mesh(num_devices))


def program_of(num_devices, denoiser, batch_size=32, **changes):
    """Returns one program for all draws that may share it."""
    return _program_of(num_devices, denoiser, batch_size, **changes)


def draw_of(num_samples, num_devices=1, denoiser=DENOISER, **changes):
    config = dataclasses.replace(CONFIG, num_samples=num_samples, **changes)
    return make_draw_samples(
        config, program_of(num_devices, denoiser, config.batch_size, **changes)
    )


@functools.partial(jax.jit, static_argnames="scale")
def draw_batch(key, i, scale=None):
    """Returns the images of batch ``i``, drawn by the sampler itself; of classes, with a scale."""
    labels = (32 * i + jnp.arange(32)) % 3
    guided = None if scale is None else guide(shift_apply, PARAMS, labels, scale)
    denoise_fn = guided or (lambda x_t, t: 0.5 * x_t)
    key = stream_key(key, Stream.SAMPLE, 5, i)
    images = sample_ddim(key, denoise_fn, SCHEDULE, (32, *SHAPE), num_steps=3, eta=0.7)
    return images_to_uint8(images)


def test_more_images_than_a_batch_are_drawn_batch_by_batch():
    """Against the sampler itself: batches of 32, the last one cut."""
    key = seed_to_key(0)
    images = draw_of(70)(key, PARAMS, 5)
    assert images.shape == (70, *SHAPE)
    assert images.dtype == np.uint8
    batches = [draw_batch(key, i) for i in range(3)]
    expected = np.concatenate(batches)[:70].astype(int)
    np.testing.assert_allclose(images.astype(int), expected, atol=1)  # float32 rounding under jit
    assert len(np.unique(images, axis=0)) == 70


def test_an_image_does_not_depend_on_how_many_are_drawn_nor_on_the_devices():
    """Nor does the noise of its steps."""
    key = seed_to_key(1)
    images = draw_of(300)(key, PARAMS, 5)
    for num_samples, num_devices in ((300, 2), (70, 1), (33, 8)):
        few = draw_of(num_samples, num_devices)(key, PARAMS, 5)
        np.testing.assert_array_equal(few, images[:num_samples])
    one = draw_of(3)(key, PARAMS, 5).astype(int)
    np.testing.assert_allclose(one, images[:3].astype(int), atol=1)  # rounding: a smaller batch


@pytest.mark.parametrize(("num_devices", "denoiser"), [(1, WITH_CLASSES), (2, DENOISER)])
def test_several_batches_at_once_are_the_same_images(num_devices, denoiser):
    """Up to the rounding of a larger program: one of the 256 values of a pixel."""
    key, progress = seed_to_key(3), []
    one_by_one = draw_of(300, 1, denoiser)(key, PARAMS, 5)
    config = dataclasses.replace(CONFIG, num_samples=300)
    draw = make_draw_samples(config, program_of(num_devices, denoiser), lambda: 4)
    at_once = draw(key, PARAMS, 5, progress.append)
    assert progress == ([128, 256, 300] if num_devices == 1 else [192, 300])
    np.testing.assert_allclose(at_once.astype(int), one_by_one.astype(int), atol=1)


def test_labels_that_are_given_are_drawn_image_by_image():
    """Each image depends on its noise and its label alone."""
    key, params = seed_to_key(2), PARAMS
    in_turn, first, second = (
        draw_of(70, num_devices, WITH_CLASSES)(key, params, 5, None, labels)
        for num_devices, labels in ((2, None), (1, np.zeros(70, int)), (2, np.arange(70) // 24))
    )
    for images, labels in ((in_turn, np.arange(70) % 3), (second, np.arange(70) // 24)):
        is_zero = labels == 0
        np.testing.assert_array_equal(images[is_zero], first[is_zero])
        differ = (images[~is_zero] != first[~is_zero]).any(axis=(1, 2, 3))
        assert differ.mean() > 0.5  # in some images all pixels are black or white either way


@pytest.mark.parametrize(
    ("denoiser", "labels", "message"),
    [
        (DENOISER, np.zeros(70, int), "this one has none"),
        (WITH_CLASSES, np.zeros(69, int), r"must be 70 in 0\.\.2, got \(69,\)"),
        (WITH_CLASSES, np.full(70, 3), r"must be 70 in 0\.\.2, got \(70,\) in 3\.\.3"),
        (WITH_CLASSES, np.full(70, -1), r"in -1\.\.-1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(denoiser, labels, message):
    with pytest.raises(ValueError, match=message):
        draw_of(70, 1, denoiser)(seed_to_key(0), PARAMS, 5, None, labels)


def test_progress_is_told_as_images_are_drawn():
    for num_samples, num_devices, expected in (
        (70, 1, [32, 64, 70]),  # batch by batch
        (300, 2, [64, 128, 192, 256, 300]),  # a batch of each device
        (3, 1, [3]),
    ):
        told = []
        images = draw_of(num_samples, num_devices)(seed_to_key(1), PARAMS, 5, told.append)
        assert told == expected
        assert len(images) == num_samples


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_model_with_classes_draws_them_in_turn(scale):
    """Image i is of class i mod 3, across batches and devices; against the sampler itself."""
    key = seed_to_key(0)
    draw = draw_of(70, 2, WITH_CLASSES, guidance_scale=scale)
    images = draw(key, PARAMS, 5)
    for i in range(3):
        theirs = np.asarray(draw_batch(key, i, scale), int)
        ours = images[32 * i : 32 * (i + 1)].astype(int)
        np.testing.assert_allclose(ours, theirs[: len(ours)], atol=1)


def test_key_counter_and_model_make_the_images():
    draw, key = draw_of(3), seed_to_key(0)
    images = draw(key, PARAMS, 5)
    assert images.shape == (3, *SHAPE)
    np.testing.assert_array_equal(draw(key, PARAMS, 5), images)
    for others in (
        draw(key, PARAMS, 6),
        draw(seed_to_key(1), PARAMS, 5),
        draw(key, {"scale": np.float32(0.1)}, 5),
    ):
        assert (others != images).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "euler"}, "sampling.sampler must be one of ancestral, ddim, got 'euler'"),
        ({"every_rounds": 0}, "sampling.every_rounds must be a whole number in 1.*, got 0"),
        ({"num_samples": 0}, "sampling.num_samples must be a whole number in 1.*, got 0"),
        ({"num_steps": 0}, "sampling.num_steps must be a whole number in 1.*, got 0"),
        ({"eta": 1.5}, r"sampling.eta must be a number in \[0, 1\], got 1.5"),
        ({"eta": float("nan")}, r"sampling.eta must be a number in \[0, 1\], got nan"),
        ({"sampler": "ancestral", "num_steps": None, "eta": 0.5}, "eta: 0.5 is not allowed"),
        (
            {"guidance_scale": -1.0},
            r"sampling.guidance_scale must be a number in \[0, 1000\], got -1",
        ),
        ({"guidance_scale": 2.0}, "sampling.guidance_scale must be 1 for a model without model.n"),
        ({"num_steps": 7}, r"num_steps: 7 is not an integer in 1\.\.6"),
        ({"sampler": "ancestral"}, "num_steps: 3 is not allowed"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_drawn(changes, message):
    with pytest.raises(ValueError, match=message):
        make_sampler_program(dataclasses.replace(CONFIG, **changes), DENOISER, SCHEDULE, SHAPE)
