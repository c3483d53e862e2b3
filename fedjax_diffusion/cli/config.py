"""The command ``config``: every setting of a config with its value, unit and meaning."""

import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedjax_diffusion.experiment.config import load_config, to_run_config
from fedjax_diffusion.experiment.config_files import find_config, split_name
from fedjax_diffusion.experiment.meanings import Setting, list_settings
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.runs.folder import read_config
from fedjax_diffusion.runs.records import CONFIG
from fedjax_diffusion.sweep.identity import shorten_rows

_MAX_WIDTH = 100


def format_config(name: str, overrides: Mapping[str, str]) -> str:
    """Returns every setting of a config as text: key, value and unit, then the meaning.

    Args:
      name: of a config file, as ``load_config`` takes it, or a run folder.
      overrides: changed values, by dotted key.
    """
    settings = list_settings(_load(name, overrides))
    return "\n".join([f"# {_find(name)}", *map(_format_setting, settings)])


def format_difference(name: str, overrides: Mapping[str, str], other: str) -> str:
    """Returns the settings in which a config differs from another one as text.

    Args:
      name: see ``format_config``.
      overrides: see ``format_config``; changed values of the first config only.
      other: the second config, as ``name``.
    """
    here = {setting.key: setting for setting in list_settings(_load(name, overrides))}
    there = {setting.key: setting for setting in list_settings(_load(other, {}))}
    keys = [key for key in {**here, **there} if _value(here, key) != _value(there, key)]
    lines = [f"# {_find(name)} and {_find(other)} differ in {len(keys)} settings"]
    for key in keys:
        setting = here.get(key) or there[key]
        lines += [f"{key} = {_format(here, key)}", f"{' ' * len(key)} / {_format(there, key)}"]
        lines.append(_indent(setting.meaning))
    return "\n".join(lines)


def _load(name: str, overrides: Mapping[str, str]) -> RunConfig:
    if not is_run(name):
        return to_run_config(load_config(name, overrides))
    if overrides:
        raise ValueError(
            f"{name} is a run folder, whose settings are fixed: leave out --config.KEY"
        )
    return read_config(Path(name))


def is_run(name: str) -> bool:
    """Returns whether a name is that of a run folder."""
    return Path(name, CONFIG).is_file()


def _find(name: str) -> Path:
    return Path(name, CONFIG) if is_run(name) else find_config(split_name(name)[0])


def _value(settings: Mapping[str, Setting], key: str) -> Any:
    return settings[key].value if key in settings else ...


def _format(settings: Mapping[str, Setting], key: str) -> str:
    return _format_value(settings[key]) if key in settings else "(has no such setting)"


def _format_value(setting: Setting) -> str:
    """Returns a value as ``--config.KEY=`` takes it, and its unit."""
    unit = setting.unit if setting.value not in (None, ()) else ""
    return f"{shorten_rows(setting.value)} {unit}".rstrip()


def _format_setting(setting: Setting) -> str:
    return f"{setting.key} = {_format_value(setting)}\n{_indent(setting.meaning)}"


def _indent(text: str) -> str:
    width = min(shutil.get_terminal_size().columns, _MAX_WIDTH)
    return textwrap.fill(text, width, initial_indent=" " * 4, subsequent_indent=" " * 4)
