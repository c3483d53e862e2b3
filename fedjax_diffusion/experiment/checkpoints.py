"""Saving and restoring the simulation state, with Orbax."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from fedjax_diffusion.host.old_names import to_old_name
from fedjax_diffusion.simulator import SimulationState


@dataclass(frozen=True)
class CheckpointConfig:
    """Frequency and number of the saved states.

    Attributes:
      every_rounds: rounds from one checkpoint to the next, >= 1; the last round is always saved.
      keep: number of checkpoints kept, >= 1.

    Raises:
      ValueError: a number below 1.
    """

    every_rounds: int
    keep: int

    def __post_init__(self):
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"checkpoint.{name} must be at least 1, got {value}")


class Checkpoints:
    """Checkpoints of one run, numbered by completed rounds.

    A checkpoint is written to a temporary folder and then renamed, so it is complete or absent.
    """

    def __init__(self, folder: Path, keep: int):
        policy: Any = ocp.training.preservation_policies.LatestN(keep)
        folder_name = str(folder.resolve())
        self._checkpointer = ocp.training.Checkpointer(folder_name, preservation_policy=policy)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._checkpointer.close()

    def save(self, state: SimulationState) -> None:
        """Saves a state under its round, unless that round is saved already."""
        if int(state.round) not in [c.step for c in self._checkpointer.checkpoints]:
            self._checkpointer.save(int(state.round), _to_host(state))

    @property
    def latest_round(self) -> int | None:
        """Completed rounds of the newest state; None if there is none."""
        latest = self._checkpointer.latest
        return None if latest is None else int(latest.step)

    def restore_latest(self, like: SimulationState) -> SimulationState | None:
        """Returns the newest state, or None if there is none.

        Args:
          like: a state of the same structure, for its shapes, dtypes and placement on devices.
        """
        latest = self._checkpointer.latest
        if latest is None:
            return None
        saved = self._checkpointer.metadata(latest.step).metadata
        fields = {field.name: getattr(like, field.name) for field in dataclasses.fields(like)}
        names = {
            name: name if name in saved else to_old_name("checkpoint", name) for name in fields
        }
        asked = {names[name]: jax.tree.map(np.asarray, value) for name, value in fields.items()}
        found: Any = self._checkpointer.load(latest.step, abstract_state=asked)
        loaded = SimulationState(**{name: found[names[name]] for name in fields})
        return jax.tree.map(lambda x, old: jax.device_put(x, old.sharding), loaded, like)


def _to_host(state: SimulationState) -> SimulationState:
    return jax.tree.map(np.asarray, state)
