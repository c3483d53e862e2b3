"""A pack's runs are the single runs, up to rounding and what rounding does to codes."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fedjax_diffusion import register_network
from fedjax_diffusion.diffusion import Denoiser
from fedjax_diffusion.diffusion.conv import make_conv
from fedjax_diffusion.diffusion.layers import (
    conv_3x3,
    dense,
    group_norm,
    time_embedding,
)
from fedjax_diffusion.experiment.build import ProgramChoice, build
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.packs import LaneInputs, Pack, find_pack_program
from fedjax_diffusion.experiment.programs import list_rates
from fedjax_diffusion.federated import RunMapping, gather_inputs
from tests.tiny import tiny_config

NUM_RUNS, NUM_LANES, NUM_FEATURES = 8, 4, 4
COHORT = np.arange(3, dtype=np.int32)
MAP, VMAP, CHUNKED = (
    pytest.param(mapping, marks=marks)
    for mapping, marks in (
        (("map", None), pytest.mark.slow),
        (("vmap", None), ()),
        (("chunked", 2), pytest.mark.slow),
    )
)
"""A loop, and ``vmap`` in a loop: each compiles for long.

In the suite ``tests/federated/test_run_map.py`` has both, and ``tests/sweep/test_lanes.py`` whole
runs in the former.
"""


class Bits:
    def __init__(self, num_bits):
        self.num_bits = np.full(len(COHORT), num_bits)


@dataclasses.dataclass(frozen=True)
class OneBlockConfig:
    """Layers of the U-Net, with a step and a group: compiled in a fraction of a U-Net's time."""

    num_classes = None


class OneBlock(nn.Module):
    conv: str

    @nn.compact
    def __call__(self, x, t):
        conv, dtype = make_conv(self.conv), jnp.float32
        embedding = dense(NUM_FEATURES, "embedding", dtype)(time_embedding(t, NUM_FEATURES))
        h = conv_3x3(NUM_FEATURES, "conv_in", conv=conv, dtype=dtype)(x)
        h = group_norm(1, h + embedding[:, None, None, :], "norm", dtype, is_activated=True)
        return conv_3x3(x.shape[-1], "conv_out", conv=conv, dtype=dtype, is_zero=True)(h)


def make_one_block(config, image_shape, *, conv="stock", dtype=jnp.float32, remat=False):
    block = OneBlock(conv)

    def init(key):
        return block.init(key, jnp.zeros((1, *image_shape)), jnp.zeros(1, jnp.int32))["params"]

    def apply(params, x_t, t, dropout_key=None, labels=None):
        return block.apply({"params": params}, x_t, t)

    return Denoiser(init, apply, None)


@pytest.fixture(scope="module")
def experiments():
    """Runs that differ in seed and learning rate, all of one program."""
    register_network("one_block", OneBlockConfig, make_one_block)
    built = []
    for seed in range(NUM_RUNS):
        rate = 1e-3 * (1 + seed / NUM_RUNS)
        config = tiny_config(
            seed=seed,
            client_optimizer__learning_rate=rate,
            compute__cpu_devices="1",
            compute__client_map="map",
            compute__conv="plain",
        )
        config.model = ConfigDict({"name": "one_block"})
        built.append(build(to_run_config(config), ProgramChoice(min_slots=1024)))
    return built


def make_pack(experiments, mapping, states):
    first = experiments[0]
    settings = first.learner.describe_round(first.compute, first.config.local_work.batch_size)
    program = find_pack_program(settings, mapping)
    pack = Pack(program, len(experiments), first.data.images, first.data.labels)
    for lane, (one, state) in enumerate(zip(experiments, states, strict=True)):
        words = jax.random.key_data(one.run_key)
        rates = list_rates(one.config)
        pack.put(lane, state, LaneInputs(words, one.data.indices, one.data.num_examples, rates))
    return pack


def start(experiments):
    return [one.simulator.init(one.run_key, one.data) for one in experiments]


def play_alone(experiments, num_bits, num_rounds):
    states, infos = start(experiments), []
    for _ in range(num_rounds):
        played = [
            one.simulator.step(one.run_key, state, Bits(num_bits), COHORT, one.data)
            for one, state in zip(experiments, states, strict=True)
        ]
        states, infos = map(list, zip(*played, strict=True))
    return jax.device_get((states, infos))


def play_packed(experiments, mapping, num_bits, num_rounds, lanes=None, states=None):
    pack, answers = make_pack(experiments, mapping, states or start(experiments)), {}
    lanes = range(len(experiments)) if lanes is None else lanes
    inputs = {
        lane: gather_inputs(
            COHORT,
            Bits(num_bits).num_bits,
            experiments[lane].data.num_examples,
            experiments[lane].config.local_work,
        )
        for lane in lanes
    }
    for _ in range(num_rounds):
        answers = pack.step(inputs)
    return pack, answers


def list_differences(state, expected):
    pairs = zip(jax.tree.leaves(state.params), jax.tree.leaves(expected.params), strict=True)
    return np.concatenate([np.abs(np.asarray(a) - b).ravel() for a, b in pairs])


@pytest.mark.parametrize("mapping", [MAP, VMAP, CHUNKED])
def test_a_round_is_that_of_the_run_alone(experiments, mapping):
    some = experiments[:NUM_LANES]
    for num_bits in (32, 4):
        states, infos = play_alone(some, num_bits, 1)
        pack, answers = play_packed(some, RunMapping(*mapping), num_bits, 1)
        for lane, (state, info) in enumerate(zip(states, infos, strict=True)):
            differences = list_differences(pack.take(lane), state)
            is_other = differences > 1e-5
            assert is_other.mean() <= (0 if num_bits == 32 else 1e-3), (lane, num_bits)
            assert differences.max() <= 1e-5 + np.max(info.clients.upload.step), (lane, num_bits)
            lane_state, lane_info = answers[lane]
            np.testing.assert_allclose(np.asarray(lane_info.loss), info.loss, rtol=1e-5)
            assert lane_state.round == state.round == 1
            statistics = lane_state.upload_statistics
            np.testing.assert_allclose(statistics.bit_width_error, state.bit_width_error, rtol=1e-3)
            norm = state.update_squared_norm
            np.testing.assert_allclose(statistics.update_squared_norm, norm, rtol=1e-3)


@pytest.mark.parametrize("mapping", [MAP, VMAP, CHUNKED])
def test_a_diverged_run_does_not_touch_its_neighbours(experiments, mapping):
    """To the bit: the same program, with nothing finite in one lane's model."""
    some, states = experiments[:NUM_LANES], start(experiments[:NUM_LANES])
    broken = jax.tree.map(lambda x: np.full_like(x, np.nan), states[2].params)
    states[2] = dataclasses.replace(states[2], params=broken)
    pack, answers = play_packed(some, RunMapping(*mapping), 4, 1, states=states)
    expected_pack, expected = play_packed(some, RunMapping(*mapping), 4, 1)
    assert not np.isfinite(np.asarray(answers[2][1].loss))
    for lane in (0, 1, 3):
        found = jax.tree.leaves((pack.take(lane), jax.tree.map(np.asarray, answers[lane][1])))
        theirs = (expected_pack.take(lane), jax.tree.map(np.asarray, expected[lane][1]))
        for ours, other in zip(found, jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(ours, other)


@pytest.mark.parametrize("mapping", [VMAP, CHUNKED])
def test_the_losses_of_paired_runs_have_no_bias(experiments, mapping):
    """The mean of 8 differences is within three of its standard errors, or is rounding alone."""
    _, infos = play_alone(experiments, 3, 3)
    losses = []
    for first in range(0, NUM_RUNS, NUM_LANES):
        some = slice(first, first + NUM_LANES)
        _, answers = play_packed(experiments[some], RunMapping(*mapping), 3, 3)
        ours = (answers[lane][1].loss for lane in range(NUM_LANES))
        losses += [
            (float(np.asarray(loss)), float(info.loss))
            for loss, info in zip(ours, infos[some], strict=True)
        ]
    differences = np.array([ours - theirs for ours, theirs in losses])
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    assert abs(differences.mean()) <= max(3 * error, 1e-6), differences


@pytest.mark.parametrize("mapping", [MAP, VMAP, CHUNKED])
def test_lanes_without_inputs_stay_as_they_are(experiments, mapping):
    """All of their state, the number of the round and the averaged model too."""
    some, states = experiments[:NUM_LANES], start(experiments[:NUM_LANES])
    states[0] = dataclasses.replace(
        states[0], ema_params=jax.tree.map(lambda x: np.asarray(x) + 1, states[0].params)
    )
    given = jax.device_get(states)
    pack, answers = play_packed(some, RunMapping(*mapping), 4, 1, lanes=[1, 2], states=states)
    assert set(answers) == {1, 2}
    for lane, state in enumerate(given):
        pairs = zip(jax.tree.leaves(pack.take(lane)), jax.tree.leaves(state), strict=True)
        is_same = all(np.array_equal(ours, theirs) for ours, theirs in pairs)
        assert is_same == (lane not in answers)


def test_a_pack_takes_no_clients_on_several_devices(experiments):
    first = experiments[0]
    settings = first.learner.describe_round(first.compute, 4)
    mesh = jax.make_mesh((2,), ("clients",))
    mapping = settings.mapping.__class__("map", None, mesh)
    settings = settings.__class__(**{**vars(settings), "mapping": mapping})
    with pytest.raises(ValueError, match="must be on one device"):
        find_pack_program(settings, RunMapping())
