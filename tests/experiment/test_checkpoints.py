"""Checkpoints: what comes back is what was saved, bit for bit; what was cut off is not there."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from fedjax_diffusion.experiment.checkpoints import CheckpointConfig, Checkpoints
from fedjax_diffusion.experiment.compute import ComputeConfig, make_mesh
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.training import Learner
from fedjax_diffusion.simulator import SimulationState
from tests.tiny import pixel_config


@functools.cache
@jax.jit
def state_at(round):
    """A state with every kind of leaf: Adam's counts and moments, odd floats, int and float []."""
    key = jax.random.key(round)
    params = {"w": jax.random.normal(key, (3, 4)), "b": jnp.array([0.0, -0.0, 1e-40, jnp.inf])}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    _, opt_state = optimizer.update(jax.tree.map(jnp.sign, params), optimizer.init(params), params)
    return SimulationState(
        round=jnp.int32(round),
        params=params,
        opt_state=opt_state,
        ema_params=jax.tree.map(lambda w: w / 3, params),
        bit_width_error=jnp.array([[-1.0, -1.0], [0.1, 0.0], [1 / 3, 1e-9]], jnp.float32),
        update_squared_norm=jnp.float32(1 / 7),
        client_memory=jax.random.normal(key, (3, 2, 128)),
    )


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert x.sharding.is_equivalent_to(y.sharding, x.ndim)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def newest(checkpoints):
    """The newest state, which is as it was written."""
    return checkpoints.restore(checkpoints.verify(checkpoints.rounds()[0]).round, state_at(0))


@pytest.mark.parametrize("num_devices", [1, 8])
def test_a_saved_state_comes_back_bit_for_bit_where_it_was(tmp_path, num_devices):
    state, like = state_at(3), state_at(0)
    if num_devices > 1:
        placement = NamedSharding(make_mesh(num_devices), PartitionSpec())
        state, like = jax.device_put((state, like), placement)
    Checkpoints(tmp_path / "checkpoints", keep=1).save(state)
    assert_same_bits(Checkpoints(tmp_path / "checkpoints", keep=1).restore(3, like), state)


@pytest.mark.parametrize("num_devices", [1, 3])
def test_a_described_state_is_restored_as_a_new_one(tmp_path, num_devices):
    """Also not committed to a device, if a new one is not: else a round is compiled again."""
    learner = Learner(to_run_config(pixel_config()), (8, 8, 1), make_mesh(num_devices))
    compute = ComputeConfig("map", None, "stock", num_devices, "resident")
    simulator, clients = learner.make_simulator(compute), SimpleNamespace(num_examples=[1, 1, 1])
    like = learner.describe_state(simulator, clients)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(like))
    state = simulator.init(jax.random.key(1), clients)
    Checkpoints(tmp_path, keep=1).save(state)
    restored = Checkpoints(tmp_path, keep=1).restore(0, like)
    assert_same_bits(restored, state)
    for x, y in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert x.committed == y.committed


def test_only_the_newest_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for round in (2, 4, 10):
        checkpoints.save(state_at(round))
    assert_same_bits(newest(checkpoints), state_at(10))
    assert {path.name for path in tmp_path.iterdir()} == {"4", "10"}


def test_a_round_that_is_saved_already_is_left_alone(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(state_at(2))
    checkpoints.save(state_at(2).replace(update_squared_norm=jnp.float32(9.0)))
    assert_same_bits(newest(checkpoints), state_at(2))


def test_without_checkpoints_there_is_nothing_to_restore(tmp_path):
    assert Checkpoints(tmp_path / "none", keep=1).rounds() == []
    assert not (tmp_path / "none").exists()


def test_a_checkpoint_that_was_cut_off_is_not_there(tmp_path):
    """A crash while saving leaves the temporary folder behind; the run goes on from before it."""
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(state_at(2))
    unfinished = tmp_path / ".4.123.tmp"
    unfinished.mkdir()
    (unfinished / "leaves.bin").write_bytes(b"\0" * 10)
    assert_same_bits(newest(checkpoints), state_at(2))
    checkpoints.save(state_at(4))
    assert_same_bits(newest(checkpoints), state_at(4))


@pytest.mark.parametrize("name", ["every_rounds", "keep"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"checkpoint.{name} must be a whole number in 1.*, got 0"):
        CheckpointConfig(**({"every_rounds": 1, "keep": 1} | {name: 0}))
