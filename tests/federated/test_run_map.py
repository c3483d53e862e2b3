"""Mappings of runs: each output is that of the run alone, wherever it is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from fedjax_diffusion.federated import RUN_AXIS, RunMapping, make_run_map

RUNS, STATES = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(4, dtype=np.float32)
IS_ASKED = np.array([True, False, True, True])
SHARED = np.float32([2.0, 3.0, 5.0])


def play(shared, state, one):
    return {"next": state["next"] + one[0]}, {
        "sum": (shared * one).sum(),
        "next": jnp.sin(one) + shared,
    }


@pytest.mark.parametrize("mapping", [("map", None), ("vmap", None), ("chunked", 2)])
@pytest.mark.parametrize("num_devices", [None, 2])
def test_each_run_that_is_asked_for_is_played_as_alone(mapping, num_devices):
    mesh = None if num_devices is None else Mesh(np.array(jax.devices()[:num_devices]), (RUN_AXIS,))
    run_map = make_run_map(RunMapping(*mapping, mesh=mesh))
    play_all = jax.jit(lambda *arguments: run_map(play, *arguments))
    states, found = play_all(SHARED, IS_ASKED, {"next": STATES}, RUNS)
    for s, one in enumerate(RUNS):
        state, expected = play(SHARED, {"next": STATES[s]}, one)
        if not IS_ASKED[s]:
            state, expected = {"next": STATES[s]}, jax.tree.map(jnp.zeros_like, expected)
        assert states["next"][s] == state["next"]
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][s], value, rtol=1e-6)


@pytest.mark.parametrize(("mapping", "num_devices"), [(("map", None), None), (("chunked", 2), 2)])
def test_a_loop_writes_donated_states_in_their_place(mapping, num_devices):
    """Half a megabyte a run; an average of it and the mean needs both after the first write."""
    size = 2**17
    mesh = None if num_devices is None else Mesh(np.array(jax.devices()[:num_devices]), (RUN_AXIS,))

    def average(_, state, one):
        new = jnp.sin(state["new"]) * one
        return {"new": new, "mean": 0.9 * state["mean"] + new - state["new"]}, new.sum()

    def bytes_beside(num_runs):
        run_map = make_run_map(RunMapping(*mapping, mesh=mesh))
        states = dict.fromkeys(("new", "mean"), jax.ShapeDtypeStruct((num_runs, size), jnp.float32))
        given = [jax.ShapeDtypeStruct((num_runs,), kind) for kind in (bool, jnp.float32)]
        play_all = jax.jit(lambda *args: run_map(average, (), *args), donate_argnums=1)
        planned = play_all.lower(given[0], states, given[1]).compile().memory_analysis()
        return planned.temp_size_in_bytes

    assert bytes_beside(32) - bytes_beside(8) < size


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
        run_map(play, SHARED, IS_ASKED, STATES, RUNS)
