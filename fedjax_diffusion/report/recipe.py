"""Recipe of a report: settings that differ from the defaults, and the command that repeats it."""

import functools
import itertools
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from fedjax_diffusion.experiment.config import load_config, to_run_config
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.report.tables import Kind

_COMMANDS: dict[Kind, str] = {
    "run": "run",
    "sweep": "sweep",
    "comparison": "compare",
    "study": "study",
}
_BASE = "default"
_UNUSED: dict[Kind, tuple[str, ...]] = {
    "run": ("compare.", "study."),
    "sweep": ("compare.", "study."),
    "comparison": ("study.",),
    "study": ("compare.",),
}
"""Groups of settings that a command does not read."""


def list_changes(kind: Kind, config: RunConfig) -> dict[str, Any]:
    """Returns the settings that differ from ``configs/default.py``, by dotted key.

    Args:
      kind: of the folder; settings that its command does not read are left out.
      config: the settings.
    """
    default = _read_default()
    return {
        key: value
        for key, value in config.flatten().items()
        if not key.startswith(_UNUSED[kind]) and (key not in default or default[key] != value)
    }


def format_command(
    kind: Kind,
    config: RunConfig,
    overrides: Sequence[Mapping[str, Any]],
    workdir: str,
    reference: str | None = None,
) -> str:
    """Returns the command that makes a folder with the same settings.

    Args:
      kind: of the folder.
      config: the settings that are not swept.
      overrides: the swept settings of each point.
      workdir: text that stands for the new folder.
      reference: hash of a point of the reference of a sweep; None: it has none.

    Returns:
      One command of a shell. Points that are no product of axes are in sweep.json alone: then the
      command goes on with that folder.
    """
    words = ["fedjax-diffusion", _COMMANDS[kind]]
    axes: list[str] | None = []
    if kind == "sweep" and any(overrides):
        axes = _find_product(overrides)
        if axes is None:
            return shlex.join([*words, f"--workdir={workdir}"])
    changes = list_changes(kind, config)
    words.append(f"--config={_BASE}")
    words += [f"--config.{key}={_format(value)}" for key, value in changes.items()]
    named = [f"--reference={reference}"] if reference and kind == "sweep" else []
    return shlex.join([*words, *axes, *named, f"--workdir={workdir}"])


def _find_product(overrides: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Returns the axes whose product the points are, as arguments; None if they are none."""
    keys = [*overrides[0]]
    if any({*point} != {*keys} for point in overrides):
        return None
    values = {key: _distinct([point[key] for point in overrides]) for key in keys}
    wanted = {tuple(map(repr, combination)) for combination in itertools.product(*values.values())}
    if wanted != {tuple(repr(point[key]) for key in keys) for point in overrides}:
        return None
    texts = {key: [_quote(_format(value)) for value in values[key]] for key in keys}
    return [f"--sweep.{key}={','.join(texts[key])}" for key in keys]


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [*{repr(value): value for value in values}.values()]


@functools.cache
def _read_default() -> dict[str, Any]:
    return to_run_config(load_config(_BASE)).flatten()


def _format(value: Any) -> str:
    """Returns a value as an argument has it, with double quotes, as the shell needs single ones."""
    if not isinstance(value, list):
        return str(value)
    text = repr(tuple(value))
    return text if '"' in text else text.replace("'", '"')


def _quote(text: str) -> str:
    """Returns a value of an axis, in quotes if it has a comma outside brackets."""
    return f'"{text}"' if "," in text and not text.startswith("(") else text
