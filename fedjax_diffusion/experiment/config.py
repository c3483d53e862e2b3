"""Config files: finding, loading, overriding, checking, and conversion to a ``RunConfig``."""

import ast
import copy
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from fedjax_diffusion.experiment.config_files import (
    DEFAULT,
    find_config,
    list_items,
    load_default,
    load_file,
    split_name,
    unknown_key,
)
from fedjax_diffusion.experiment.networks import complete_settings, find_name
from fedjax_diffusion.experiment.run_config import RunConfig, flatten
from fedjax_diffusion.experiment.setting_kinds import known_kinds
from fedjax_diffusion.host.old_names import OLD_NAMES
from fedjax_diffusion.host.plugins import check_imported, import_plugins
from fedjax_diffusion.values import Kind, find_kinds, shorten, to_plain

_PLUGINS = "plugins"
_MODEL = "model"
NETWORK = "model.name"
"""The setting whose value decides which others there are in its group."""
_KIND_OF_PLUGINS = {_PLUGINS: find_kinds(RunConfig)[_PLUGINS]}
GivenConfig: TypeAlias = ConfigDict | RunConfig | dict[str, Any]
"""A config from ``load_config``, a ``RunConfig``, or the content of config.json."""


def load_config(
    path_or_name: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None
) -> Any:
    """Loads a config file, as ml_collections users write them, and imports its plug-ins.

    Plug-ins are searched in the folder of the file, then in the working folder.

    Args:
      path_or_name: ``file.py[:argument]`` with a ``get_config()`` or ``get_config(argument)``. It
        is searched as a path, then among the configs of the source checkout, then among those in
        the installed package; ``digits`` is short for ``configs/digits.py``. Within a config file
        it is searched beside that file first.
      overrides: values by dotted key, ``{"data.name": "cifar10"}``; strings are read as Python
        literals where possible, as on the command line. Numbers of NumPy and JAX are taken for
        Python's, and a ``Path`` for its text.

    Returns:
      A locked ConfigDict with exactly the keys of ``configs/default.py`` and checked values.

    Raises:
      ValueError: no such file, an unknown key, a value of the wrong type or out of range, or a
        plug-in that is not there or fails.
    """
    if not isinstance(path_or_name, str | os.PathLike):
        raise ValueError(f"config: must be a name or a path, got {shorten(path_or_name)}")
    name, argument = split_name(os.fspath(path_or_name))
    path = find_config(name)
    config = load_file(path, argument)
    overrides = {str(key): value for key, value in (overrides or {}).items()}
    if _PLUGINS in config:  # the names that they register are values of other settings
        if _PLUGINS in overrides:
            _set(config, _PLUGINS, read_value(_PLUGINS, overrides.pop(_PLUGINS), _KIND_OF_PLUGINS))
        plugins: Any = config.plugins
        _KIND_OF_PLUGINS[_PLUGINS].check("config.plugins", to_plain(plugins))
        import_plugins(plugins, (path.parent, Path()))
    if isinstance(group := config.get(_MODEL), ConfigDict):  # a network brings its settings
        given = group.to_dict()
        named = complete_settings(given, overrides.pop(NETWORK, find_name(given)))
        if named != given:
            config.model = ConfigDict(named)
    here = dict(list_items(config))
    kinds = {key: kind for key, kind in known_kinds(here).items() if key in here}
    for key, value in overrides.items():
        _set(config, key, read_value(key, value, kinds))
    check_types(config)
    return config.lock()


def to_run_config(config: GivenConfig) -> RunConfig:
    """Returns a config as frozen dataclasses.

    Raises:
      ValueError: an unknown or missing key, a value of the wrong type or out of range.
    """
    if isinstance(config, RunConfig):
        return config
    settings = ConfigDict(config) if isinstance(config, dict) else config
    settings = _to_current_keys(settings)
    check_types(settings)
    return RunConfig.from_dict(settings.to_dict())


def _to_current_keys(config: ConfigDict) -> ConfigDict:
    """Returns a config of an earlier version with the current keys."""
    keys = [key for key, _ in list_items(config) if key in OLD_NAMES["config"]]
    if not keys:
        return config
    renamed: Any = copy.deepcopy(config).unlock()
    for key in keys:
        group, name = key.split(".")
        _set(renamed, OLD_NAMES["config"][key], renamed[group][name])
        del renamed[group][name]
    return renamed


def with_overrides(config: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Returns a config with other values, by dotted key.

    Raises:
      ValueError: an unknown key, or a value of the wrong type or out of range.
    """
    settings, overrides = config.to_dict(), dict(overrides)
    given = settings[_MODEL]
    settings[_MODEL] = complete_settings(given, overrides.pop(NETWORK, find_name(given)))
    kinds = known_kinds(flatten(settings))
    for key, value in overrides.items():
        _set(settings, key, read_value(key, value, kinds))
    return RunConfig.from_dict(settings)


def fill_missing(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns saved settings, with the default for keys that did not exist when they were saved.

    The default of a new key is the value that keeps the earlier behaviour. Its tuples are lists,
    as in what was saved.
    """

    def fill(given: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
        missing = {key: value for key, value in default.items() if key not in given}
        return missing | {
            key: fill(value, default[key]) if isinstance(default.get(key), dict) else value
            for key, value in given.items()
        }

    settings = _to_current_keys(ConfigDict(settings)).to_dict()
    default = load_default().to_dict()
    default[_MODEL] = complete_settings(default[_MODEL], find_name(settings[_MODEL]))
    return fill(settings, json.loads(json.dumps(default)))


def name_config(name: str) -> str:
    """Returns the name of a folder for ``--config=NAME``: the file's, and its argument.

    >>> name_config("configs/cifar10.py"), name_config("cifar10:smoke")
    ('cifar10', 'cifar10-smoke')
    """
    file, argument = split_name(name)
    return "-".join([find_config(file).stem, *re.findall(r"[\w.+]+", argument)])


def check_types(config: ConfigDict) -> None:
    """Raises ValueError unless ``config`` has the keys of the default and values they allow.

    ConfigDict itself accepts a bool for an int and None for anything. Here only optional keys may
    be None, an int may replace a float, and nothing else is converted. The keys of group ``model``
    are those of its network in ``NETWORKS``.
    """
    given = dict(list_items(config))
    if _PLUGINS in given:  # their names are values of other settings
        _KIND_OF_PLUGINS[_PLUGINS].check("config.plugins", given[_PLUGINS])
        plugins: Any = config.plugins
        check_imported(plugins)
    known = known_kinds(given)
    for key in given:
        if key not in known:
            raise unknown_key(key, known)
    for key, kind in known.items():
        if key not in given:
            raise ValueError(f"config.{key}: missing; every key of {DEFAULT} is required")
        kind.check(f"config.{key}", given[key])


def read_value(key: str, value: Any, kinds: Mapping[str, Kind]) -> Any:
    """Returns the value of a key, converted to the key's kind."""
    if key not in kinds:
        group = [known for known in kinds if known.startswith(f"{key}.")]
        if group:
            raise ValueError(f"config.{key} is a group; set one of {', '.join(group)}")
        raise unknown_key(key, kinds)
    kind, value = kinds[key], to_plain(value)
    if isinstance(value, str):
        value = _parse(value, kind)
    is_list = isinstance(value, str) and "," in value
    if kind.entry is not None and kind.entry.has_type(value) and not is_list:
        value = (value,)
    kind.check(f"config.{key}", value)
    if value is None or kind.type not in (float, str):
        return value
    return float(value) if kind.type is float else str(value)  # "auto" or a number


def _set(settings: Any, key: str, value: Any) -> None:
    *groups, name = key.split(".")
    for group in groups:
        settings = settings[group]
    settings[name] = value


def _parse(text: str, kind: Kind) -> Any:
    if text.lower() in ("none", "null") and kind.is_optional:
        return None
    if kind.type is str:
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
