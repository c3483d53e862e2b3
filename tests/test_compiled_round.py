"""What the compiled round does not do: gather clients' data, wait for the host, copy its state."""

import functools
import math
import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.experiment.compute import make_mesh
from fedjax_diffusion.federated import ClientMapping
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.simulator import make_simulator
from tests.federated.problems import NUM_CLIENTS, TRAINING, init_params, make_data

KEY = seed_to_key(0)
COHORT = np.arange(NUM_CLIENTS, dtype=np.int32)
ALLOCATION = SimpleNamespace(num_bits=np.full(NUM_CLIENTS, 8, np.int32))
GATHERED = re.compile(r"= (\w+)\[([\d,]*)\]\S* all-gather(?:-start)?\(")
OTHER_MOVES = ("all-to-all", "collective-permute", "reduce-scatter", "infeed", "outfeed")
WIDTHS = {"pred": 1, "u8": 1, "s32": 4, "u32": 4, "f32": 4}


@functools.cache
def simulator_of(num_devices, donate_state=False):
    mapping = ClientMapping(mesh=make_mesh(num_devices))
    return make_simulator(init_params, TRAINING, mapping=mapping, donate_state=donate_state)


def data_on(num_devices):
    mesh = make_mesh(num_devices)
    placement = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    return jax.device_put(make_data(), placement)


def test_eight_devices_gather_reports_and_nothing_else():
    """A report is one number per bit width and client; images, indices and models are larger."""
    simulator, data = simulator_of(8), data_on(8)

    @jax.jit
    def step(state, images, labels, indices):
        moved = data.replace(images=images, labels=labels, indices=indices)
        return simulator.step(KEY, state, ALLOCATION, COHORT, moved)

    state = simulator.init(KEY, data)
    text = step.lower(state, data.images, data.labels, data.indices).compile().as_text()
    gathered = [
        WIDTHS[kind] * math.prod(int(size) for size in sizes.split(",") if size)
        for kind, sizes in GATHERED.findall(text)
    ]
    assert gathered, "the reports are gathered"
    assert max(gathered) <= 8 * len(BIT_WIDTHS) * 4
    assert "all-reduce" in text, "the weighted sums meet"
    assert [move for move in OTHER_MOVES if re.search(rf" {move}\S*\(", text)] == []


@pytest.mark.parametrize("num_devices", [1, 8])
def test_a_step_moves_nothing_that_it_was_not_given(num_devices):
    """Transfers are all explicit, and none waits for results: the guard raises for any other."""
    simulator, data = simulator_of(num_devices), data_on(num_devices)
    state = simulator.init(KEY, data)
    state, _ = simulator.step(KEY, state, ALLOCATION, COHORT, data)
    with jax.transfer_guard("disallow"):
        state, info = simulator.step(KEY, state, ALLOCATION, COHORT, data)
    assert np.isfinite(jax.device_get(info.loss))
    with (
        pytest.raises(Exception, match="Disallowed host-to-device"),
        jax.transfer_guard("disallow"),
    ):
        _ = state.round + np.ones(3)  # the guard is awake


def test_a_donated_state_is_written_over_on_each_device():
    data = data_on(8)
    keeping, donating = (simulator_of(8, is_donated) for is_donated in (False, True))
    state = keeping.init(KEY, data)
    expected = keeping.step(KEY, state, ALLOCATION, COHORT, data)
    again = keeping.init(KEY, data)
    got = donating.step(KEY, again, ALLOCATION, COHORT, data)
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get((got, expected)))
    assert not any(x.is_deleted() for x in jax.tree.leaves(state))
    assert all(x.is_deleted() for x in jax.tree.leaves(again.params))
