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
    """When the state is saved, and how much is kept.

    Attributes:
      every_rounds: >= 1; the last round is always saved.
      keep: checkpoints kept, >= 1.

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
    """The checkpoints of one run, by the number of rounds they have behind them.

    A checkpoint is written to a temporary folder and renamed: one that was cut off is not there.
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
        """Saves a state under its round; a round that is saved already is left alone."""
        if int(state.round) not in [c.step for c in self._checkpointer.checkpoints]:
            self._checkpointer.save(int(state.round), _to_host(state))

    @property
    def latest_round(self) -> int | None:
        """Rounds that the newest state has behind it; None if there is none."""
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
