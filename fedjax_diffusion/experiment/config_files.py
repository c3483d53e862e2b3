"""Config files: their place, their content, and the keys that they may set; read without JAX."""

import difflib
import importlib.resources
import importlib.util
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict, FieldReference

from fedjax_diffusion.host.old_names import OLD_NAMES

DEFAULT = "configs/default.py"


def find_config(name: str) -> Path:
    """Returns the path of a config file; ``load_config`` lists the folders searched."""
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


class Kind(NamedTuple):
    """The type of a setting, and whether it may be None."""

    type: type
    is_optional: bool


def list_items(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any, Kind]]:
    """Yields dotted key, value and kind; a FieldReference marks an optional value."""
    for key, item in config.items(preserve_field_references=True):
        if isinstance(item, ConfigDict):
            yield from list_items(item, f"{prefix}{key}.")
        elif isinstance(item, FieldReference):
            yield prefix + key, item.get(), Kind(item.get_type(), True)
        else:
            yield prefix + key, item, Kind(type(item), False)


def load_default() -> ConfigDict:
    """Returns the config that has every key."""
    return load_file(find_config(DEFAULT), "")


def load_file(path: Path, argument: str) -> ConfigDict:
    """Returns the config of a Python file.

    Args:
      path: of a file that ``find_config`` has found.
      argument: of its ``get_config``; ``""`` for none.

    Raises:
      ValueError: the file is not Python, takes no argument, or sets a key by its old name.
    """
    spec = importlib.util.spec_from_file_location(f"_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"config: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if argument and not inspect.signature(module.get_config).parameters:
        raise ValueError(f"config: {path} has no variants, got {argument!r}")
    try:
        return module.get_config(argument) if argument else module.get_config()
    except (AttributeError, KeyError) as error:  # a locked ConfigDict has no key of this name
        renamed = [
            f"{old} is now called {new}"
            for old, new in OLD_NAMES["config"].items()
            if f'"{old.split(".")[-1]}"' in str(error)
        ]
        if not renamed:
            raise
        raise ValueError(f"config: {path}: {' and '.join(renamed)}") from None


def check_keys(keys: Iterable[str]) -> None:
    """Raises ValueError for a dotted key that no config has, with the one that is probably meant.

    Keys of the group ``model`` are left to ``load_config``, which knows the networks.
    """
    known = [key for key, *_ in list_items(load_default())]
    for key in keys:
        is_group = any(name.startswith(f"{key}.") for name in known)
        if key not in known and not is_group and not key.startswith("model."):
            raise unknown_key(key, known)


def unknown_key(key: str, known: Iterable[str]) -> ValueError:
    """Returns the error for an unknown key, with the key that is probably meant."""
    if key in OLD_NAMES["config"]:
        return ValueError(f"config.{key}: is now called config.{OLD_NAMES['config'][key]}")
    close = difflib.get_close_matches(key, known, n=1)
    advice = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
    return ValueError(f"config.{key}: unknown key; {advice}")
