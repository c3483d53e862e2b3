"""Config files: finding them, loading them, overriding and checking single keys."""

import ast
import copy
import difflib
import importlib.resources
import importlib.util
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ml_collections import ConfigDict, FieldReference

Config: TypeAlias = Any
"""A ``ml_collections.ConfigDict``, whose values are typed by the dataclasses they fill."""
_DEFAULT = "configs/default.py"


def load_config(
    path_or_name: str, overrides: Mapping[str, str | int | float | bool | None] | None = None
) -> Config:
    """Loads a config file, as ml_collections users write them.

    Args:
      path_or_name: ``file.py[:argument]`` with a ``get_config()`` or ``get_config(argument)``. It
        is looked for as a path, then among the configs of the source checkout, then among those
        inside the installed package; ``digits`` is short for ``configs/digits.py``.
      overrides: values by dotted key, ``{"data.name": "cifar10"}``; strings are read as Python
        literals where possible, as on the command line.

    Returns:
      A locked ConfigDict that has exactly the keys of ``configs/default.py``, types checked.

    Raises:
      ValueError: no such file, an unknown key, or a value of the wrong type.
    """
    name, _, argument = path_or_name.partition(":")
    config = _load_file(find_config(name), argument)
    for key, value in (overrides or {}).items():
        _override(config, key, value)
    check_types(config)
    return config.lock()


def find_config(name: str) -> Path:
    """Returns the path of a config file; see ``load_config`` for where it is looked for."""
    name = name if name.endswith(".py") else f"configs/{name}.py"
    checkout = Path(__file__).resolve().parents[2]
    packaged = Path(str(importlib.resources.files("fedjax_diffusion")))
    for folder in (Path(), checkout, packaged):
        if (folder / name).is_file():
            return folder / name
    shipped = {p.stem for d in (checkout, packaged) for p in (d / "configs").glob("*.py")}
    raise ValueError(
        f"config: no file {name}; give a path to a .py file, or one of {', '.join(sorted(shipped))}"
    )


def with_overrides(config: Config, overrides: Mapping[str, Any]) -> Config:
    """Returns a copy of a config with other values, by dotted key.

    Raises:
      ValueError: an unknown key or a value of a wrong type.
    """
    changed = copy.deepcopy(config)
    for key, value in overrides.items():
        _override(changed, key, value)
    return changed


def fill_missing(settings: Mapping[str, Any]) -> Config:
    """Returns settings as they were saved, with the default for keys that did not exist then.

    A key is added to the default with the value that changes nothing.
    """

    def fill(given: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
        missing = {key: value for key, value in default.items() if key not in given}
        return missing | {
            key: fill(value, default[key]) if isinstance(default.get(key), dict) else value
            for key, value in given.items()
        }

    return ConfigDict(fill(settings, _load_file(find_config(_DEFAULT), "").to_dict()))


def name_config(name: str) -> str:
    """Returns what a run of ``--config=NAME`` is called: the file without folder and ending."""
    return find_config(name.partition(":")[0]).stem


def check_types(config: Config) -> None:
    """Raises ValueError unless ``config`` has the keys of the default and values of their types.

    ConfigDict alone takes a bool for an int and None for anything: here None is for the keys that
    the default leaves open, an int may stand for a float, and nothing else is converted.
    """
    default = dict(_fields(_load_file(find_config(_DEFAULT), "")))
    given = dict(_fields(config))
    for key in given:
        if key not in default:
            raise ValueError(f"config.{key}: unknown key{_suggestion(key, default)}")
    for key, field in default.items():
        if key not in given:
            raise ValueError(f"config.{key}: missing; every key of {_DEFAULT} is needed")
        _check_type(key, given[key].value, field)


def flatten(config: Config) -> dict[str, Any]:
    """Returns every value by its dotted key."""
    return {key: field.value for key, field in _fields(config)}


class _Field(NamedTuple):
    value: Any
    kind: type
    is_optional: bool


def _fields(config: Config, prefix: str = "") -> Iterator[tuple[str, _Field]]:
    """Yields every value by dotted key; what stands as a FieldReference may be None."""
    for key, item in config.items(preserve_field_references=True):
        if isinstance(item, ConfigDict):
            yield from _fields(item, f"{prefix}{key}.")
        elif isinstance(item, FieldReference):
            yield prefix + key, _Field(item.get(), item.get_type(), True)
        else:
            yield prefix + key, _Field(item, type(item), False)


def _load_file(path: Path, argument: str) -> Config:
    spec = importlib.util.spec_from_file_location(f"_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"config: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if argument and not inspect.signature(module.get_config).parameters:
        raise ValueError(f"config: {path} has no variants, got {argument!r}")
    return module.get_config(argument) if argument else module.get_config()


def _override(config: Config, key: str, value: Any) -> None:
    fields = dict(_fields(config))
    if key not in fields:
        group = [known for known in fields if known.startswith(f"{key}.")]
        if group:
            raise ValueError(f"config.{key} is a group; set one of {', '.join(group)}")
        raise ValueError(f"config.{key}: unknown key{_suggestion(key, fields)}")
    field = fields[key]
    if isinstance(value, str):
        value = _parse(value, field)
    elif field.kind is str and type(value) is int:
        value = str(value)  # "auto" or a number
    _check_type(key, value, field)
    *groups, name = key.split(".")
    target = config
    for group in groups:
        target = target[group]
    target[name] = float(value) if field.kind is float and value is not None else value


def _parse(text: str, field: _Field) -> Any:
    if text.lower() in ("none", "null") and field.is_optional:
        return None
    if field.kind is str:
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


_TAKEN_FOR = {float: int, tuple: list}
"""What a value may be, by kind, besides of that kind."""


def _check_type(key: str, value: Any, field: _Field) -> None:
    if value is None and field.is_optional:
        return
    kinds = (field.kind, _TAKEN_FOR[field.kind]) if field.kind in _TAKEN_FOR else field.kind
    if not isinstance(value, kinds) or (isinstance(value, bool) and field.kind is not bool):
        kind = field.kind.__name__ + (" or None" if field.is_optional else "")
        raise ValueError(f"config.{key} must be {kind}, got {value!r}")


def _suggestion(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
