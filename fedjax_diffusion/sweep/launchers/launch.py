"""The order to start workers, and the arguments that belong to one engine."""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fedjax_diffusion.host.interruption import Interruption


class Launch(NamedTuple):
    """An order to start identical workers.

    Attributes:
      workdir: the folder of the sweep.
      num_workers: their number.
      flags: arguments for each of them.
      settings: of the engine, from ``parse_settings``.
      tell: shows a line.
      interruption: asked by an engine that waits for its workers.
    """

    workdir: Path
    num_workers: int
    flags: Sequence[str]
    settings: Mapping[str, Any]
    tell: Callable[[str], object]
    interruption: Interruption


def parse_settings(engine: str, texts: Sequence[str]) -> dict[str, Any]:
    """Returns the settings of an engine.

    A value is read as JSON, and as text if it is none.

    Args:
      engine: name of the engine.
      texts: arguments.

    Raises:
      ValueError: an argument is malformed, or belongs to another engine.

    >>> parse_settings("slurm", ["--slurm.partition=gpu", "--slurm.timeout_min=240"])
    {'partition': 'gpu', 'timeout_min': 240}
    """
    settings = {}
    for text in texts:
        key, equals, value = text.removeprefix(f"--{engine}.").partition("=")
        if not text.startswith(f"--{engine}."):
            raise ValueError(f"{text} goes with another --launcher than {engine}")
        if not equals or not key.isidentifier():
            raise ValueError(f"a setting is written --{engine}.KEY=VALUE, got {text}")
        settings[key] = _read_value(value)
    return settings


def import_extra(module: str, extra: str) -> Any:
    """Returns a module that comes with an extra of this package.

    Raises:
      ValueError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--launcher={extra} needs one more package ({error.name} is not installed): "
            f"pip install -e '.[{extra}]' in the project's folder"
        ) from None


def check_number(num_workers: int) -> None:
    """Raises ValueError unless there is a worker to start."""
    if num_workers < 1:
        raise ValueError(f"--workers must be at least 1, got {num_workers}")


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
