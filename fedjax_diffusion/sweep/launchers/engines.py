"""Engines by name. Each is a module of this package, imported when it is used."""

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

from fedjax_diffusion.sweep.launchers.launch import Launch

ENGINES = ("local", "slurm", "ray")
"""Names of the modules."""


class Engine(Protocol):
    """Start of workers on machines of one kind."""

    def check(self, num_workers: int, settings: Mapping[str, Any]) -> None:
        """Raises ValueError for a number of workers, or settings, that it cannot start."""
        ...

    def launch(self, order: Launch) -> int:
        """Starts the workers of a checked order; returns how many of those it waits for died."""
        ...


def load_engine(name: str) -> Engine:
    """Returns the engine of a name in ``ENGINES``."""
    return cast(Engine, importlib.import_module(f"fedjax_diffusion.sweep.launchers.{name}"))
