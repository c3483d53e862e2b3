"""Mappings of runs: each output is that of the run alone, wherever it is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from fedjax_diffusion.federated import RUN_AXIS, RunMapping, make_run_map

RUNS = jnp.arange(12.0).reshape(4, 3)
SHARED = jnp.array([2.0, 3.0, 5.0])


def play(shared, one):
    return {"sum": (shared * one).sum(), "next": jnp.sin(one) + shared}


@pytest.mark.parametrize("mapping", [("map", None), ("vmap", None), ("chunked", 2)])
@pytest.mark.parametrize("num_devices", [None, 2])
def test_each_run_is_played_as_alone(mapping, num_devices):
    mesh = None if num_devices is None else Mesh(np.array(jax.devices()[:num_devices]), (RUN_AXIS,))
    run_map = make_run_map(RunMapping(*mapping, mesh=mesh))
    found = jax.jit(lambda shared, runs: run_map(play, shared, runs))(SHARED, RUNS)
    for s, one in enumerate(RUNS):
        expected = play(SHARED, one)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][s], value, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("loop",), "must be one of map, vmap, chunked"),
        (("chunked",), "chunk_size goes with 'chunked'"),
        (("vmap", 2), "chunk_size goes with 'chunked'"),
        (("chunked", 0), "at least 1"),
    ],
)
def test_a_mapping_that_is_none_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RunMapping(*arguments)


def test_chunks_must_divide_the_runs():
    run_map = make_run_map(RunMapping("chunked", 3))
    with pytest.raises(ValueError, match="chunk_size, 3, must divide the number of runs, 4"):
        run_map(play, SHARED, RUNS)
