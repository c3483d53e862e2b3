"""A run whose model is given labels, from its config to its images."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fedjax_diffusion import register_network
from fedjax_diffusion.diffusion import Denoiser
from fedjax_diffusion.experiment.build import build
from tests.tiny import PixelConfig, make_pixels, pixel_config


@dataclasses.dataclass(frozen=True)
class TableConfig:
    """The pixels' network, with a table of shifts of the image by label, as the U-Net has one."""

    first_shift: float = 0.0
    num_classes: int | None = 10


def make_labelled_pixels(config, image_shape, **options):
    pixels = make_pixels(PixelConfig(), image_shape, **options)

    def init(key):
        return pixels.init(key) | {
            "label_embedding": {"kernel": jnp.full(config.num_classes + 1, config.first_shift)}
        }

    def apply(params, x_t, t, dropout_key=None, labels=None):
        shift = params["label_embedding"]["kernel"][labels]
        return pixels.apply(params, x_t, t) + shift[:, None, None, None]

    return Denoiser(init, apply, config.num_classes)


register_network("labelled_pixels", TableConfig, make_labelled_pixels)


def test_a_round_trains_the_table_of_labels_and_images_are_drawn_with_it():
    steps = {"num_rounds": 1, "local_work__local_steps": 1}
    config = pixel_config(sampling__guidance_scale=2.0, allocator__baselines=(), **steps)
    config.model = ConfigDict({"name": "labelled_pixels", "first_shift": 0.0, "num_classes": 10})
    experiment = build(config)
    state = experiment.simulator.init(experiment.run_key, experiment.data)
    before = np.array(state.params["label_embedding"]["kernel"])
    conditions = experiment.draw_conditions(experiment.run_key, 0)
    plan = experiment.plan(experiment.run_key, state.upload_statistics, state.params, conditions)
    cohort_data = experiment.load_cohort(conditions.cohort)
    state, info = experiment.simulator.step(
        experiment.run_key, state, plan.allocation, plan.cohort, *cohort_data
    )
    assert np.isfinite(info.loss)
    is_trained = np.asarray(state.params["label_embedding"]["kernel"]) != before
    assert is_trained[:-1].any(), "rows of labels, not only that of no label"
    images = experiment.draw_samples(experiment.run_key, state.ema_params, 1)
    assert images.shape == (4, 8, 8, 1)


@pytest.mark.parametrize(
    ("num_classes", "overrides", "message"),
    [
        (7, {}, r"^model.num_classes must be None or the 10 classes of digits"),
        (None, {"sampling__guidance_scale": 2.0}, "^sampling.guidance_scale must be 1 for a model"),
        (
            None,
            {"guidance__label_dropout": 1.5},
            r"^config.guidance.label_dropout must be a number in \[0, 1\], got 1.5",
        ),
        (
            10,
            {"guidance__label_dropout": 0.0, "sampling__guidance_scale": 2.0},
            r"^sampling.guidance_scale must be 1 if guidance.label_dropout is 0",
        ),
        (
            10,
            {"guidance__label_dropout": 1.0},
            r"^sampling.guidance_scale must be 0 if guidance.label_dropout is 1",
        ),
        (None, {"sampling__eta": 2.0}, r"^config.sampling.eta must be a number .* got 2.0"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_trial(
    num_classes, overrides, message, monkeypatch
):
    monkeypatch.setattr("fedjax_diffusion.experiment.build.tune", None)
    with pytest.raises(ValueError, match=message):  # noqa: PT012  # the config's own checks, too
        config = pixel_config(**overrides)
        config.model.num_classes = num_classes
        build(config)
