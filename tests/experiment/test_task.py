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
    DiffusionConfig,
    UNetConfig,
    ddpm_loss,
    make_denoiser,
    make_schedule,
)
from fedjax_diffusion.experiment.build import build
from fedjax_diffusion.experiment.config import check_types, fill_missing, to_run_config
from fedjax_diffusion.experiment.task import MODELS, find_model, make_task
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.types import Batch
from tests.tiny import PixelConfig, tiny_config

SHAPE = (8, 8, 1)
UNET, DIFFUSION = UNetConfig(4, (1,)), DiffusionConfig("linear", 10)


@pytest.mark.parametrize("num_classes", [None, 3])
def test_a_task_has_the_loss_of_its_network_and_schedule(num_classes):
    model = dataclasses.replace(UNET, num_classes=num_classes)
    task = make_task(model, DIFFUSION, SHAPE)
    denoiser, key = make_denoiser(model, SHAPE), seed_to_key(0)
    shapes = jax.eval_shape(denoiser.init, key)
    params = jax.tree.map(lambda x: jnp.full(x.shape, 0.1, x.dtype), shapes)
    batch = Batch(jnp.zeros((2, *SHAPE)), jnp.array([0, 2]))
    expected = functools.partial(
        ddpm_loss,
        denoiser.apply,
        make_schedule("linear", 10),
        label_dropout=None if num_classes is None else 0.5,
    )
    losses = (jax.jit(loss)(params, batch, key) for loss in (task.make_loss(0.5), expected))
    np.testing.assert_array_equal(*losses)
    assert task.denoiser.num_classes == num_classes
    assert task.schedule.num_steps == 10


def test_the_cost_of_an_example_depends_on_the_model_alone():
    plain = make_task(UNET, DIFFUSION, SHAPE)
    other = make_task(UNET, DIFFUSION, SHAPE, conv="matmul", dtype=jnp.bfloat16, remat=True)
    assert plain.count_flops() == other.count_flops() > 1e5
    larger = make_task(UNetConfig(8, (1,)), DIFFUSION, SHAPE)
    assert larger.count_flops() > 2 * plain.count_flops()


def test_models_are_told_apart_by_their_fields():
    assert find_model(["gain", "num_classes"]) is PixelConfig
    assert find_model([field.name for field in dataclasses.fields(UNetConfig)]) is UNetConfig
    assert find_model(["gain"]) is UNetConfig, "whose keys a message then names"
    fields = [{field.name for field in dataclasses.fields(model)} for model in MODELS]
    assert len(fields) == len(set(map(frozenset, fields)))


def test_a_registered_model_is_described_by_a_config_file_and_built():
    settings = tiny_config().to_dict() | {"model": {"gain": 2, "num_classes": None}}
    check_types(ConfigDict(settings))
    config = to_run_config(settings)
    assert config.model == PixelConfig(2)
    assert to_run_config(fill_missing(json.loads(json.dumps(config.to_dict())))) == config
    experiment = build(config)
    assert experiment.workload.num_parameters == 2 * 64
    state = experiment.simulator.init(experiment.run_key, experiment.data)
    assert set(state.params["gain"].ravel().tolist()) == {2.0}
    with pytest.raises(ValueError, match=r"config\.model\.gain must be a number, got 'x'"):
        to_run_config(settings | {"model": {"gain": "x", "num_classes": None}})
