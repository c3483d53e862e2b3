"""Checkpoints of earlier versions, which Orbax wrote: they have no checksums."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import absl.logging
import jax
import numpy as np

from fedjax_diffusion.experiment.checkpoint_files import DamagedError
from fedjax_diffusion.host.old_names import to_old_name
from fedjax_diffusion.simulator import SimulationState

_STATE = "state"


def is_orbax(folder: Path) -> bool:
    """Returns whether a folder is a checkpoint of an earlier version."""
    return (folder / _STATE).is_dir()


def check_orbax(folder: Path) -> None:
    """Reads a whole checkpoint; raises DamagedError where Orbax cannot."""
    with _open(folder) as orbax:
        orbax.load(folder.resolve())


def read_orbax(folder: Path, like: SimulationState) -> SimulationState:
    """Returns the saved state as host arrays.

    Args:
      folder: of a checkpoint.
      like: a state of the same structure, for its shapes and dtypes.

    Raises:
      DamagedError: Orbax cannot read it.
    """
    with _open(folder) as orbax:
        saved = orbax.metadata(folder.resolve()).metadata
        fields = {field.name: getattr(like, field.name) for field in dataclasses.fields(like)}
        names = {
            name: name if name in saved else to_old_name("checkpoint", name) for name in fields
        }
        asked = {
            names[name]: jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), value)
            for name, value in fields.items()
        }
        found: Any = orbax.load(folder.resolve(), abstract_state=asked)
        return SimulationState(**{name: found[names[name]] for name in fields})


@contextlib.contextmanager
def _open(folder: Path) -> Iterator[Any]:
    """Yields Orbax, and gives its many kinds of errors one name."""
    from orbax.checkpoint import v1 as orbax

    verbosity = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        yield orbax
    except Exception as error:
        reason = " ".join(str(error).split())[:100]
        raise DamagedError(f"Orbax cannot read it ({type(error).__name__}: {reason})") from error
    finally:
        absl.logging.set_verbosity(verbosity)
