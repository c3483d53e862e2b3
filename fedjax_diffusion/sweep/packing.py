"""Choice of lanes: which points are trained side by side, how many, and where."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from fedjax_diffusion.data import load_images
from fedjax_diffusion.experiment.build import count_state_bytes
from fedjax_diffusion.experiment.compute import count_memory_bytes, start_backend
from fedjax_diffusion.experiment.guesses import AT_ONCE
from fedjax_diffusion.experiment.programs import list_static
from fedjax_diffusion.experiment.sweep_config import AUTO, MOST_LANES
from fedjax_diffusion.experiment.training import Learner
from fedjax_diffusion.federated import RUN_AXIS, RunMapping
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.sweep.lanes import LanesConfig, list_methods
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.programs import GroupChoices

_STATES = 3
"""Copies of a lane's state: before and after a round, and one that is taken out."""
_LEAST_FOR_TWO = 16
"""Lanes from which on they are divided into two packs."""


class Group(NamedTuple):
    """Points that are played together.

    Attributes:
      points: in their order.
      lanes: None: the points are played one after the other.
    """

    points: list[Point]
    lanes: LanesConfig | None


def split_points(
    points: Sequence[Point],
    asked: int | str,
    at_most: int,
    choices: GroupChoices,
    progress: Progress,
) -> list[Group]:
    """Returns the groups of open points, in the order of their first points.

    Args:
      points: all open points.
      asked: ``sweep.lanes``.
      at_most: largest number of lanes, such as fitted into the memory.
      choices: of the sweep's groups.
      progress: shows trials.
    """
    if str(asked) == "1" or at_most == 1 or len(points) < 2:
        return [Group(list(points), None)]
    config = points[0].config
    start_backend(config.compute, config.cohort_size or config.partition.num_clients)
    if asked == AUTO and jax.default_backend() == "cpu":
        return [Group(list(points), None)]  # a run keeps it busy
    groups: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        groups.setdefault(list_static(point.config), []).append(point)
    return [_choose_lanes(group, asked, at_most, choices, progress) for group in groups.values()]


def _choose_lanes(
    points: list[Point], asked: int | str, at_most: int, choices: GroupChoices, progress: Progress
) -> Group:
    config, num_lanes = points[0].config, min(len(points), MOST_LANES, at_most)
    if asked == AUTO:
        compute = choices.find(config, progress).compute
        assert compute is not None  # a group's choice has one
        if compute.client_map not in AT_ONCE or compute.data == "streamed":
            return Group(points, None)
        at_once = compute.chunk_size or config.cohort_size or config.partition.num_clients
        image_shape = load_images(**vars(config.data)).images.shape[1:]
        learner = Learner(config, image_shape, mesh=None)
        lane = at_once * learner.count_client_bytes(compute) + _STATES * count_state_bytes(config)
        lane += learner.count_average_bytes(config.cohort_size or config.partition.num_clients)
        fitting = jax.local_device_count() * int(count_memory_bytes() / 2 / lane)
        num_lanes = min(num_lanes, fitting)
    else:
        num_lanes = min(num_lanes, int(asked))
    if num_lanes < 2:
        return Group(points, None)
    mapping = _map_runs(num_lanes)
    num_packs = _count_packs(num_lanes)
    multiple = num_packs * (1 if mapping.mesh is None else mapping.mesh.size)
    num_lanes -= num_lanes % multiple
    methods = list_methods([point.config for point in points])
    return Group(points, LanesConfig(num_lanes, num_packs, mapping, methods))


def _count_packs(num_lanes: int) -> int:
    """Returns the number of packs: two if the host works beside the devices, and each is large."""
    return 2 if jax.default_backend() != "cpu" and num_lanes >= _LEAST_FOR_TWO else 1


def _map_runs(num_lanes: int) -> RunMapping:
    """Returns the mapping of runs: sharded over all devices, and on an accelerator at once."""
    name = "map" if jax.default_backend() == "cpu" else "vmap"
    devices = jax.local_devices()[: num_lanes // _count_packs(num_lanes)]
    if len(devices) == 1:
        return RunMapping(name)
    mesh = Mesh(np.array(devices), (RUN_AXIS,), axis_types=(AxisType.Auto,))
    return RunMapping(name, mesh=mesh)
