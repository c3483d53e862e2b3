"""A pack's round is lowered for CUDA and TPU, its runs on one device and sharded over eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.packs import LaneInputs, find_pack_program
from fedjax_diffusion.experiment.programs import find_round_program, list_rates
from fedjax_diffusion.experiment.training import Learner
from fedjax_diffusion.federated import RUN_AXIS, ClientInputs, RunMapping
from fedjax_diffusion.keys import seed_to_key
from tests.accelerators.test_lowering import NUM_DEVICES, assert_no_64_bits, lower
from tests.tiny import pixel_config

NUM_RUNS, NUM_CLIENTS, NUM_EXAMPLES = 2 * NUM_DEVICES, 3, 64


def shape(*size, dtype=jnp.int32, sharding=None):
    return jax.ShapeDtypeStruct(size, dtype, sharding=sharding)


@pytest.mark.parametrize(("mapping", "num_devices"), [("map", 1), ("vmap", NUM_DEVICES)])
def test_the_round_of_a_pack(mapping, num_devices):
    config = to_run_config(pixel_config())
    mesh = Mesh(np.array(jax.devices()[:num_devices]), (RUN_AXIS,)) if num_devices > 1 else None
    settings = Learner(config, (8, 8, 1), None).describe_round(
        ComputeConfig("vmap", None, "matmul", 1, "resident"), config.local_work.batch_size
    )
    program, rates = find_pack_program(settings, RunMapping(mapping, mesh=mesh)), list_rates(config)
    init = find_round_program(settings).init
    state = jax.eval_shape(lambda: init(seed_to_key(0), NUM_CLIENTS, rates))
    brought = LaneInputs(
        shape(2, dtype=jnp.uint32),
        shape(NUM_CLIENTS, NUM_EXAMPLES),
        shape(NUM_CLIENTS),
        jax.tree.map(lambda _: shape(dtype=jnp.float32), rates),
    )
    weight = shape(NUM_CLIENTS, dtype=jnp.float32)
    inputs = ClientInputs(*[shape(NUM_CLIENTS)] * 2, weight, *[shape(NUM_CLIENTS)] * 2)
    stacked = jax.tree.map(
        lambda x: shape(NUM_RUNS, *x.shape, dtype=x.dtype, sharding=program.placement),
        (state, brought, inputs),
    )
    is_asked = shape(NUM_RUNS, dtype=jnp.bool_, sharding=program.placement)
    images = shape(NUM_EXAMPLES, 8, 8, 1, dtype=jnp.uint8)
    assert_no_64_bits(lower(program.step, *stacked, is_asked, images, shape(NUM_EXAMPLES)))
