"""Choices that the points of a sweep with equal programs make once, for all of them.

The first point of a group resolves the compute settings, which may take trials; all others, also
those of other processes, take them from the sweep's folder. So no point is tried, equal points have
equal bits (outside of lanes), and the group compiles one round.
"""

import dataclasses
import functools
import hashlib
import json
from typing import Any

import jax

from fedjax_diffusion.experiment.build import ProgramChoice, build, count_examples
from fedjax_diffusion.experiment.compute import ComputeConfig
from fedjax_diffusion.experiment.programs import list_static
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.host.atomic import write_new
from fedjax_diffusion.host.interruption import NEVER, Interruption
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.sweep.folder import Sweep

PROGRAMS = "programs"
"""Folder of the choices, one file per group and kind of device."""


class GroupChoices:
    """The choices of a sweep's groups on this machine's devices.

    Args:
      sweep: its points are grouped by their static settings.
      interruption: asked after each trial.
      is_on_one_device: whether each run is to use one device only.
    """

    def __init__(
        self,
        sweep: Sweep,
        interruption: Interruption = NEVER,
        *,
        is_on_one_device: bool = False,
    ):
        self._sweep, self._interruption, self._is_on_one_device = (
            sweep,
            interruption,
            is_on_one_device,
        )
        self._min_slots: dict[tuple[Any, ...], int] = {}

    def find(self, config: RunConfig, progress: Progress) -> ProgramChoice:
        """Returns the choice of a point's group; the first point makes it."""
        static = list_static(config)
        min_slots = self._find_min_slots(static)
        path = self._sweep.workdir / PROGRAMS / f"{_fingerprint(static)}.json"
        if not path.exists():
            check = functools.partial(self._interruption.check, "no round is played yet")
            experiment = build(config, ProgramChoice(min_slots=min_slots), progress, check)
            path.parent.mkdir(exist_ok=True)
            write_new(path, json.dumps(dataclasses.asdict(experiment.compute), indent=2).encode())
        compute = ComputeConfig(**json.loads(path.read_text()))
        if self._is_on_one_device:
            compute = dataclasses.replace(compute, cpu_devices=1)
        return ProgramChoice(compute, min_slots)

    def _find_min_slots(self, static: tuple[Any, ...]) -> int:
        """Returns the largest number of examples of a client in a group.

        A point that was begun with other compute settings counts, too.
        """
        static = static[:-1]  # the last ones are those of compute
        if static not in self._min_slots:
            configs = [point.config for point in self._sweep.points]
            group = [config for config in configs if list_static(config)[:-1] == static]
            divisions = {(c.partition, c.seed): c for c in group}
            self._min_slots[static] = max(map(count_examples, divisions.values()))
        return self._min_slots[static]


def _fingerprint(static: tuple[Any, ...]) -> str:
    device = jax.devices()[0]
    asked = [static, device.platform, device.device_kind, jax.device_count(), jax.__version__]
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:12]
