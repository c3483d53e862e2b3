"""The task: built in one place, from any registered model."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fedjax_diffusion.diffusion import (
    Denoiser,
    DiffusionConfig,
    ddpm_loss,
    make_conv,
    make_schedule,
)
from fedjax_diffusion.experiment.build import build
from fedjax_diffusion.experiment.config import (
    check_types,
    fill_missing,
    load_config,
    to_run_config,
    with_overrides,
)
from fedjax_diffusion.experiment.networks import NETWORKS, NetworkKind, complete_settings
from fedjax_diffusion.experiment.task import make_task
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.types import Batch
from tests.tiny import PixelConfig, make_pixels, pixel_config, tiny_config

SHAPE = (8, 8, 1)
DIFFUSION = DiffusionConfig("linear", 10)


@dataclasses.dataclass(frozen=True)
class LabelsConfig:
    """A network that says which labels it is given."""

    name: str = "labels"
    num_classes: int | None = 3


def make_labels(config, image_shape, *, conv="stock", dtype=jnp.float32, remat=False):
    def init(key):
        return {"gain": jnp.zeros(image_shape)}

    def apply(params, x_t, t, dropout_key=None, labels=None):
        return params["gain"][None] * x_t + labels[:, None, None, None]

    return Denoiser(init, apply, config.num_classes)


@pytest.mark.parametrize("num_classes", [None, 3])
def test_a_task_has_the_loss_of_its_network_and_schedule(num_classes, monkeypatch):
    if num_classes is None:
        model, make = to_run_config(pixel_config()).model, make_pixels
    else:
        model, make = LabelsConfig(), make_labels
        monkeypatch.setitem(NETWORKS, model.name, NetworkKind(LabelsConfig, make))
    task = make_task(model, DIFFUSION, SHAPE)
    denoiser, key = make(model, SHAPE), seed_to_key(0)
    shapes = jax.eval_shape(denoiser.init, key)
    params = jax.tree.map(lambda x: np.full(x.shape, 0.1, x.dtype), shapes)
    batch = Batch(np.zeros((2, *SHAPE), np.float32), np.array([0, 2]))
    expected = functools.partial(
        ddpm_loss,
        denoiser.apply,
        make_schedule("linear", 10),
        label_dropout=None if num_classes is None else 0.5,
    )
    both = jax.jit(lambda *args: (task.make_loss(0.5)(*args), expected(*args)))
    np.testing.assert_array_equal(*both(params, batch, key))
    assert task.denoiser.num_classes == num_classes
    assert task.schedule.num_steps == 10


def make_convolution(config, image_shape, *, conv="stock", dtype=jnp.float32, remat=False):
    def init(key):
        return jnp.zeros((3, 3, 1, 1))

    def apply(kernel, x_t, t, dropout_key=None, labels=None):
        convolve = functools.partial(make_conv(conv), window_strides=(1, 1), padding="SAME")
        layout = ("NHWC", "HWIO", "NHWC")
        y = convolve(x_t.astype(dtype), kernel.astype(dtype), dimension_numbers=layout)
        return y.astype(jnp.float32)

    return Denoiser(init, jax.checkpoint(apply) if remat else apply, None)


def test_the_cost_of_an_example_depends_on_the_model_alone(monkeypatch):
    pixels = to_run_config(pixel_config()).model
    few = make_task(pixels, DIFFUSION, SHAPE).count_flops()
    monkeypatch.setitem(NETWORKS, "pixels", NetworkKind(PixelConfig, make_convolution))
    plain = make_task(pixels, DIFFUSION, SHAPE)
    assert plain.count_flops() > few > 0
    for changed in ({"conv": "matmul"}, {"dtype": jnp.bfloat16}, {"remat": True}):
        assert make_task(pixels, DIFFUSION, SHAPE, **changed).count_flops() == plain.count_flops()


def test_a_registered_network_is_described_by_a_config_and_built():
    settings = tiny_config().to_dict() | {"model": {"name": "pixels", "gain": 2}}
    with pytest.raises(ValueError, match=r"config\.model\.num_classes: missing"):
        check_types(ConfigDict(settings))
    settings["model"]["num_classes"] = None
    config = to_run_config(settings)
    assert (config.model.name, config.model.gain) == ("pixels", 2)
    assert to_run_config(fill_missing(json.loads(json.dumps(config.to_dict())))) == config
    experiment = build(config)
    assert experiment.workload.num_parameters == 2 * 64
    state = experiment.simulator.init(experiment.run_key, experiment.data)
    assert set(state.params["gain"].ravel().tolist()) == {2.0}
    with pytest.raises(ValueError, match=r"config\.model\.gain must be a number, got 'x'"):
        to_run_config(settings | {"model": settings["model"] | {"gain": "x"}})
    with pytest.raises(ValueError, match=r"config\.model\.name must be one of unet, pixels"):
        to_run_config(settings | {"model": {"name": "pixel"}})


def test_a_name_brings_the_settings_of_its_network():
    assert complete_settings({}, "pixels") == {"name": "pixels", "gain": 0.5, "num_classes": None}
    assert repr(complete_settings({"name": "pixels", "gain": 2}, "pixels")["gain"]) == "2.0"
    unet = load_config("digits").model.to_dict()
    assert complete_settings(unet, "unet") == unet
    left_over = complete_settings(unet | {"name": "pixels"}, "pixels")
    assert left_over == complete_settings(unet, "pixels") == complete_settings({}, "pixels")
    config = load_config("digits", {"model.gain": "2", "model.name": "pixels"})
    assert config.model.to_dict() == {"name": "pixels", "gain": 2.0, "num_classes": None}
    with pytest.raises(ValueError, match=r"config\.model\.name must be one of unet, .*, got None"):
        load_config("digits", {"model.name": None})
    changed = with_overrides(to_run_config(load_config("digits")), {"model.name": "pixels"})
    assert isinstance(changed.model, PixelConfig)
