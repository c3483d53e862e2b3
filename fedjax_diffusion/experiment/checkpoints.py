"""The checkpoints of a run: saved, verified, restored, pruned, set aside."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax

from fedjax_diffusion.experiment.checkpoint_files import (
    DamagedError,
    read_state,
    verify,
    write_state,
)
from fedjax_diffusion.experiment.orbax_files import check_orbax, is_orbax, read_orbax
from fedjax_diffusion.host.atomic import remove_folder, sync_folder, write_folder
from fedjax_diffusion.host.old_names import to_current_names
from fedjax_diffusion.host.processes import is_primary, wait_for_all
from fedjax_diffusion.simulator import SimulationState
from fedjax_diffusion.values import Count, check_fields

CHECKPOINTS = "checkpoints"
"""Folder of saved states in a run folder."""
_NUMBER = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True)
class CheckpointConfig:
    """Frequency and number of the saved states.

    Attributes:
      every_rounds: rounds from one checkpoint to the next, >= 1; the last round is always saved.
      keep: number of checkpoints kept, >= 1.

    Raises:
      ValueError: a number below 1.
    """

    every_rounds: Count
    keep: Count

    def __post_init__(self):
        check_fields(self, "checkpoint")


class Saved(NamedTuple):
    """A checkpoint that is as it was written.

    Attributes:
      round: number of completed rounds.
      record: the record's checksums; None if it is of an earlier version, which has no checksums.
    """

    round: int
    record: str | None


class ForeignError(DamagedError):
    """A checkpoint is of another run."""


class Checkpoints:
    """Checkpoints of one run, folders that are named by the number of completed rounds.

    A checkpoint is written to a temporary folder and then renamed, so it is complete or absent.
    """

    def __init__(self, folder: Path, keep: int, identity: Mapping[str, Any] | None = None):
        """Names the run that the checkpoints belong to; writes nothing.

        Args:
          folder: of the checkpoints, made when the first one is saved.
          keep: number of checkpoints kept, >= 1.
          identity: settings and data that decide the numbers of the run, by dotted key.
        """
        self._folder, self._keep, self._identity = folder, keep, dict(identity or {})

    def save(self, state: SimulationState, record: str = "") -> None:
        """Saves a state under its round, unless that round is saved already.

        Args:
          state: of this run, the same in all its processes; the first of them writes.
          record: checksums of the run's record so far.

        Raises:
          OSError: it cannot be written. Earlier checkpoints are still there.
        """
        round = int(state.round)
        if is_primary() and not self.path(round).exists():
            about = {"round": round, "identity": self._identity, "record": record}
            self._folder.mkdir(parents=True, exist_ok=True)
            write_folder(self.path(round), lambda folder: write_state(folder, state, about))
            self.prune(self._keep)
        wait_for_all(f"checkpoint {round} is there")

    def prune(self, keep: int) -> None:
        """Removes all checkpoints but the newest ``keep``, >= 0; only the run's owner calls it."""
        for old in self.rounds()[keep:]:
            remove_folder(self.path(old))

    def path(self, round: int) -> Path:
        """Returns the folder of a checkpoint."""
        return self._folder / str(round)

    def rounds(self) -> list[int]:
        """Returns the rounds of all checkpoints, good or bad, the newest first."""
        entries = self._folder.iterdir() if self._folder.exists() else ()
        return sorted((int(p.name) for p in entries if _NUMBER.fullmatch(p.name)), reverse=True)

    def verify(self, round: int) -> Saved:
        """Compares a checkpoint with its checksums and with this run.

        Raises:
          ForeignError: it is of a run with other settings or data.
          DamagedError: it is not as it was written, or is named by another round than it holds.
        """
        folder = self.path(round)
        if is_orbax(folder):
            check_orbax(folder)
            return Saved(round, None)
        about = verify(folder)
        if about["round"] != round:
            raise DamagedError(f"it holds round {about['round']}")
        for key, value in to_current_names("config", about["identity"]).items():
            if key in self._identity and self._identity[key] != value:
                raise ForeignError(
                    f"it is of another run ({key}: {value!r} there, {self._identity[key]!r} here)"
                )
        return Saved(round, about["record"])

    def restore(self, round: int, like: SimulationState) -> SimulationState:
        """Returns a saved state.

        Args:
          round: of the checkpoint.
          like: a state of the same structure, for the shapes, dtypes and shardings of its arrays,
            or of ``jax.ShapeDtypeStruct``; a sharding None is the default device.

        Raises:
          DamagedError: it cannot be read, or is of another model.
        """
        folder = self.path(round)
        read = read_orbax if is_orbax(folder) else read_state
        return jax.tree.map(
            lambda x, old: jax.device_put(x, old.sharding), read(folder, like), like
        )

    def set_aside(self, round: int, word: str) -> Path:
        """Renames a checkpoint, so that it counts no more, and returns its new path.

        Args:
          round: of the checkpoint.
          word: says why, the first part of its new name.
        """
        number, path = 1, self._folder / f"{word}-{round}"
        while path.exists():
            number += 1
            path = self._folder / f"{word}-{round}-{number}"
        self.path(round).rename(path)
        sync_folder(self._folder)
        return path
