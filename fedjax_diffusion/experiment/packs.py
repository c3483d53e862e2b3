"""Packs: the states of S runs of equal static settings, and one compiled round for all of them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from fedjax_diffusion.data import ClientData
from fedjax_diffusion.experiment.programs import Rates, RoundSettings, find_round_program
from fedjax_diffusion.federated import (
    RUN_AXIS,
    ClientInputs,
    RunMapping,
    UploadStatistics,
    make_run_map,
)
from fedjax_diffusion.federated.simulation_state import RoundInfo, SimulationState
from fedjax_diffusion.keys import words_to_key
from fedjax_diffusion.types import Array

_MAX_KEPT = 8


class LaneInputs(NamedTuple):
    """Inputs of a run that stay in its lane; those of a pack have a leading [S].

    Attributes:
      key_words: uint32 [2], the data of the run's key.
      indices: int32 [K, N_max], of its clients' examples.
      num_examples: int32 [K].
      rates: the numbers of its training.
    """

    key_words: Array
    indices: Array
    num_examples: Array | np.ndarray
    rates: Rates


class PackProgram(NamedTuple):
    """The compiled functions of packs with equal settings. Arrays of a pack have a leading [S].

    Attributes:
      step: ``step(state, lanes, inputs, is_asked, images, labels) -> (state, info)``: one round
        of the lanes that are asked for, bool [S]; the others stay as they are. ``inputs`` are the
        cohorts' ``ClientInputs`` [S, M]. It overwrites the given state.
      make_empty: ``make_empty(one, num_lanes) -> pack``: zeros, in as many lanes of such a run.
      put: ``put(pack, lane, one) -> pack``; overwrites the given pack.
      take: ``take(pack, lane) -> one``.
      mesh: of the runs; None: they are on the default device.
    """

    step: Callable[..., tuple[SimulationState, RoundInfo]]
    make_empty: Callable[[Any, int], Any]
    put: Callable[[Any, int, Any], Any]
    take: Callable[[Any, int], Any]
    mesh: Mesh | None

    @property
    def placement(self) -> Sharding | None:
        """The devices of arrays with a leading [S]; None: the default one."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec(RUN_AXIS))

    @property
    def shared(self) -> Sharding | None:
        """The devices of arrays without."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())


@functools.lru_cache(_MAX_KEPT)
def find_pack_program(settings: RoundSettings, mapping: RunMapping) -> PackProgram:
    """Returns the program of packs whose runs have these settings.

    Args:
      settings: of one run; its clients are on one device.
      mapping: of the runs.

    Raises:
      ValueError: the clients are sharded over devices.
    """
    if settings.mapping.mesh is not None:
        raise ValueError("the clients of a pack's runs must be on one device")
    pure_step, run_map = find_round_program(settings).pure_step, make_run_map(mapping)

    def play_run(
        shared: tuple[Array, Array], state: SimulationState, one: tuple
    ) -> tuple[SimulationState, RoundInfo]:
        lane, inputs = one
        data = ClientData(*shared, lane.indices, lane.num_examples)
        return pure_step(words_to_key(lane.key_words), state, inputs, data, lane.rates)

    def step(
        state: SimulationState,
        lanes: LaneInputs,
        inputs: ClientInputs,
        is_asked: Array,
        images: Array,
        labels: Array,
    ) -> tuple[SimulationState, RoundInfo]:
        return run_map(play_run, (images, labels), is_asked, state, (lanes, inputs))

    def make_empty(one: Any, num_lanes: int) -> Any:
        return jax.tree.map(lambda x: jnp.zeros((num_lanes, *x.shape), x.dtype), one)

    def put(pack: Any, lane: int, one: Any) -> Any:
        return jax.tree.map(lambda x, new: x.at[lane].set(new), pack, one)

    def take(pack: Any, lane: int) -> Any:
        return jax.tree.map(lambda x: x[lane], pack)

    plain = PackProgram(step, make_empty, put, take, mapping.mesh)
    return plain._replace(
        step=jax.jit(step, donate_argnums=0, out_shardings=plain.placement),
        # One program, and no device holds more than its own lanes of them.
        make_empty=jax.jit(make_empty, static_argnums=1, out_shardings=plain.placement),
        put=jax.jit(put, donate_argnums=0, out_shardings=plain.placement),
        take=jax.jit(take, out_shardings=plain.shared),
    )


class Pack:
    """The states of S runs on the devices, each in a lane; a lane may be empty.

    Args:
      program: from ``find_pack_program``.
      num_lanes: S >= 1.
      images: uint8 [N, H, W, C], of all runs.
      labels: int32 [N].
    """

    def __init__(self, program: PackProgram, num_lanes: int, images: Array, labels: Array):
        self._program, self._num_lanes = program, num_lanes
        self._images, self._labels = jax.device_put((images, labels), program.shared)
        self._state: Any = None
        self._lanes: Any = None

    def share_images(self, data: ClientData) -> ClientData:
        """Returns a run's data with the pack's images in the place of its own copy."""
        return dataclasses.replace(data, images=self._images, labels=self._labels)

    def put(self, lane: int, state: SimulationState, inputs: LaneInputs) -> None:
        """Puts a run into a lane; what was there is gone."""
        one = jax.device_put((state, inputs), self._program.shared)
        if self._state is None:
            self._state, self._lanes = self._program.make_empty(one, self._num_lanes)
        pack = (self._state, self._lanes)
        self._state, self._lanes = self._program.put(pack, lane, one)

    def step(self, inputs: Mapping[int, ClientInputs]) -> dict[int, tuple["LaneState", RoundInfo]]:
        """Plays a round of some lanes; returns before the devices have finished.

        Args:
          inputs: of the lanes, on the host, [M]; the others stay as they are.

        Returns:
          Each lane's next state and the diagnostics of its round, both of them valid until the
          next step. The arrays of the latter are copied to the host when they are looked at.
        """
        nobody = jax.tree.map(np.zeros_like, next(iter(inputs.values())))
        rows = [inputs.get(lane, nobody) for lane in range(self._num_lanes)]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
        is_asked = np.isin(np.arange(self._num_lanes), list(inputs))
        brought = jax.device_put((stacked, is_asked), self._program.placement)
        self._state, info = self._program.step(
            self._state, self._lanes, *brought, self._images, self._labels
        )
        statistics = self._state.upload_statistics
        for array in jax.tree.leaves((info, vars(statistics))):
            array.copy_to_host_async()
        return {
            lane: (
                LaneState(self, lane, statistics),
                jax.tree.map(lambda x, lane=lane: _LaneArray(x, lane), info),
            )
            for lane in inputs
        }

    def take(self, lane: int) -> SimulationState:
        """Returns a copy of a lane's state, on the first device."""
        state = self._program.take(self._state, lane)
        mesh = self._program.mesh
        return state if mesh is None else jax.device_put(state, mesh.devices.flat[0])


class LaneState:
    """A run's state in its lane, valid until the next step of the pack."""

    def __init__(self, pack: Pack, lane: int, statistics: UploadStatistics):
        self._pack, self._lane, self._statistics = pack, lane, statistics

    @property
    def round(self) -> int:
        """The number of the next round."""
        return int(np.asarray(self._statistics.round)[self._lane])

    @property
    def upload_statistics(self) -> UploadStatistics:
        """The part that the plan of the next round needs, on the host."""
        arrays = {n: np.asarray(x)[self._lane] for n, x in vars(self._statistics).items()}
        return UploadStatistics(**arrays)

    @functools.cached_property
    def whole(self) -> SimulationState:
        """All of it, copied out of the pack."""
        return self._pack.take(self._lane)


class _LaneArray:
    """A lane's part of an array of a pack, which becomes a NumPy array when one is asked for."""

    def __init__(self, stacked: Array, lane: int):
        self._stacked, self._lane = stacked, lane

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(np.asarray(self._stacked)[self._lane], dtype)
