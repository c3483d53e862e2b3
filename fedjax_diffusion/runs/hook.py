"""The change of an experiment that ``run`` is given: its record, and a run that goes on with it."""

import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedjax_diffusion.experiment.experiment import Change

_LOG = logging.getLogger(__name__)
CHANGE = "change"
"""Field of environment.json."""


def describe_change(change: Change) -> dict[str, str | None]:
    """Returns the name and the source of a function; the source is None if it cannot be found."""
    name = getattr(change, "__qualname__", type(change).__qualname__)
    try:
        source = inspect.getsource(change)
    except (OSError, TypeError):
        source = None
    return {"name": name, "source": source}


def check_change(workdir: Path, environment: Mapping[str, Any], change: Change | None) -> None:
    """Raises ValueError if a run has begun with a change and goes on without one, or otherwise.

    A change whose source differs from that of the run's beginning is a warning.

    Args:
      workdir: of the run.
      environment: content of its environment.json; empty if it has not begun.
      change: with which it is to go on; None: without.
    """
    if not environment:
        return
    begun = environment.get(CHANGE)
    if begun is None and change is not None:
        raise ValueError(
            f"{workdir} holds a run that began without change=; choose another workdir for this one"
        )
    if begun is not None and change is None:
        raise ValueError(
            f"{workdir} holds a run with change={begun['name']}, which only run(config, workdir, "
            "change=...) in Python continues"
        )
    if change is not None and begun != describe_change(change):
        _LOG.warning("%s: change= is not the function with which the run began", workdir)
