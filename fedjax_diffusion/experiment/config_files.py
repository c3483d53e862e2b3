"""Config files: their place, their content, and the keys that they may set; read without JAX."""

import ast
import contextlib
import importlib.resources
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from fedjax_diffusion.host.old_names import OLD_NAMES
from fedjax_diffusion.host.source_errors import describe_error
from fedjax_diffusion.host.suggestions import ask, find_similar_keys
from fedjax_diffusion.values import shorten

DEFAULT = "configs/default.py"
LIST_ALL = "`fedjax-diffusion config` lists all keys"
_BITS_OF_UPLOADS = ("bits", "num_bits")
"""Names under which one looks for the bits of uploads, which the allocator chooses."""
_FIELDS = re.compile(r""" Other fields present: ".*?"(\\n|'?$)""", re.DOTALL)
"""Part of an error of ConfigDict: all settings, thousands of characters."""
_open_folders: list[Path] = []
"""Folders of the config files that are being read, the innermost last."""


def split_name(name: str) -> tuple[str, str]:
    """Returns file and argument of ``FILE[:ARGUMENT]``; there may be colons in the file's path.

    >>> split_name("10:30/mine.py:smoke"), split_name("cifar10:smoke"), split_name("C:/mine.py")
    (('10:30/mine.py', 'smoke'), ('cifar10', 'smoke'), ('C:/mine.py', ''))
    """
    if name.endswith(".py"):
        return name, ""
    stem, ending, argument = name.rpartition(".py:")
    if ending:
        return f"{stem}.py", argument
    file, _, argument = name.partition(":")
    return file, argument


def find_config(name: str) -> Path:
    """Returns the path of a config file.

    A relative name but that of the default is searched in the folders of the config files that are
    being read, then as ``load_config`` says.
    """
    own = () if name == DEFAULT else reversed(_open_folders)
    is_path = name.endswith(".py")
    file = name if is_path else f"configs/{name}.py"
    for folder in (*own, Path(), *_find_roots()):
        if (folder / file).is_file():
            return folder / file
    what = f"no file {name}" if is_path else f"no config {shorten(name)}"
    known = ", ".join(list_configs())
    raise ValueError(f"config: {what}; give a path to a .py file, or one of {known}")


def list_configs() -> list[str]:
    """Returns the names of the configs that are included, such as ``digits``."""
    return sorted({p.stem for root in _find_roots() for p in (root / "configs").glob("*.py")})


def _find_roots() -> tuple[Path, Path]:
    """Returns the folders that may hold the included configs: source checkout and package."""
    packaged = Path(str(importlib.resources.files("fedjax_diffusion")))
    return Path(__file__).resolve().parents[2], packaged


def list_items(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields dotted key and value."""
    for key, item in config.items():
        if isinstance(item, ConfigDict):
            yield from list_items(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item


def load_default() -> ConfigDict:
    """Returns the config that has every key."""
    return load_file(find_config(DEFAULT), "")


def load_file(path: Path, argument: str) -> ConfigDict:
    """Returns the config of a Python file.

    Args:
      path: of a file that ``find_config`` has found.
      argument: of its ``get_config``; ``""`` for none.

    Raises:
      ValueError: the file raises an error, which is reported with file and line; it has no
        ``get_config`` that returns a ConfigDict, takes no argument, or sets a key by its old name.
    """
    with open_module(path) as module:
        get_config = getattr(module, "get_config", None)
        if not callable(get_config):
            raise ValueError(f"config: {path} has no function get_config")
        arguments = (argument,) if argument else ()
        _check_arguments(path, inspect.signature(get_config), arguments)
        config = get_config(*arguments)
        if inspect.iscoroutine(config):
            config.close()  # else Python warns that nobody awaits it
    if not isinstance(config, ConfigDict):
        raise ValueError(
            f"config: {path}: get_config must return a ConfigDict, got {type(config).__name__}"
        )
    return config


def _check_arguments(path: Path, signature: inspect.Signature, arguments: tuple[str, ...]) -> None:
    """Raises ValueError if the ``get_config`` of a file does not take what was given."""
    try:
        signature.bind(*arguments)
    except TypeError:
        if arguments and not signature.parameters:
            reason = f" has no variants, got {arguments[0]!r}"
        elif arguments:
            reason = ": get_config must take one argument or none"
        else:
            reason = f": get_config needs an argument; write {path.name}:ARGUMENT"
        raise ValueError(f"config: {path}{reason}") from None


@contextlib.contextmanager
def open_module(path: Path) -> Iterator[ModuleType]:
    """Yields the module of a config file, which may import its neighbours meanwhile.

    Raises:
      ValueError: an error in the file, or while it is open, in one line with file and line.
    """
    spec = importlib.util.spec_from_file_location(f"_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"config: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    with _explain_errors(path), _importable(module, path.parent):
        spec.loader.exec_module(module)
        yield module


@contextlib.contextmanager
def _importable(module: ModuleType, folder: Path) -> Iterator[None]:
    """Lets a config file import and load its neighbours, and dataclasses find its module."""
    sys.modules[module.__name__] = module
    sys.path.append(str(folder))
    _open_folders.append(folder)
    try:
        yield
    finally:
        _open_folders.pop()
        sys.path.remove(str(folder))
        sys.modules.pop(module.__name__, None)


@contextlib.contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    """Turns an error in a config file into a ValueError of one line, with file and line number."""
    try:
        yield
    except (Exception, SystemExit) as error:
        text = str(error)
        if isinstance(error, ValueError) and text.startswith("config"):
            raise
        if isinstance(error, AttributeError | KeyError):  # a locked ConfigDict has no such key
            renamed = [
                f"{old} is now called {new}"
                for old, new in OLD_NAMES["config"].items()
                if f'"{old.split(".")[-1]}"' in text
            ]
            if renamed:
                raise ValueError(f"config: {path}: {' and '.join(renamed)}") from None
            error = type(error)(_FIELDS.sub(" ", text)).with_traceback(error.__traceback__)
        raise ValueError(f"config: {describe_error(error, path)}") from error


def check_keys(keys: Iterable[str], name: str = DEFAULT) -> None:
    """Raises ValueError for a dotted key that a config lacks, with the one that is probably meant.

    Args:
      keys: dotted. In group ``model``, those of a config that may have a network of its own, from
        an import or a plug-in, are left to ``load_config``.
      name: of the config, as ``load_config`` takes it.
    """
    known = [key for key, _ in list_items(load_default())]
    keys = list(keys)
    has_unet = "plugins" not in keys and _has_unet(find_config(split_name(name)[0]))
    for key in keys:
        is_group = any(name.startswith(f"{key}.") for name in known)
        if key not in known and not is_group and (has_unet or not key.startswith("model.")):
            raise unknown_key(key, known)


def _has_unet(path: Path) -> bool:
    """Returns whether a config file imports nothing and sets no plug-in: its network is known."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_text())))
    except (SyntaxError, ValueError):  # ``load_config`` explains it
        return False
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names |= {f"{node.module}.{alias.name}" for node in froms for alias in node.names}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)} & {"plugins"}
    return names <= {"fedjax_diffusion.load_config"} or path.name == Path(DEFAULT).name


def unknown_key(key: str, known: Iterable[str]) -> ValueError:
    """Returns the error for an unknown key, with the key that is probably meant."""
    known = list(known)
    if key in OLD_NAMES["config"]:
        return ValueError(f"config.{key}: is now called config.{OLD_NAMES['config'][key]}")
    group, _, name = key.rpartition(".")
    advice = ask(find_similar_keys(key, known))
    if name in _BITS_OF_UPLOADS:
        advice = "; for B bits in every upload set allocator.method=fixed_bits:B"
    elif not advice:
        inside = [other for other in known if other.startswith(f"{group}.")]
        advice = f"; {group} has {', '.join(inside)}" if inside else f"; {LIST_ALL}"
    return ValueError(f"config.{key}: unknown key{advice}")
