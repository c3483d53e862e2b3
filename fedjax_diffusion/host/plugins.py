"""Plug-ins: Python files or installed modules that register names, imported once per process.

A plug-in is known by its name, and recognized by the SHA-256 of its file. It is imported from the
bytes that were hashed. Nothing is imported from a folder that only holds results.
"""

import hashlib
import importlib
import importlib.machinery
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.source_errors import describe_error

FOLDER = "plugins"
"""In a folder of results: copies of the sources, for the record."""
_SHOWN = 12
"""Digits of a SHA-256 in a message."""


class Plugin(NamedTuple):
    """A plug-in that this process has imported.

    Attributes:
      name: of its module; of a file, without folder and ending.
      path: of its file.
      source: the bytes of the file, as imported.
      is_file: whether it was given as a file, not found as an installed module.
      is_trusted: whether it is taken in the place of one with another source.
    """

    name: str
    path: Path
    source: bytes
    is_file: bool
    is_trusted: bool = False

    @property
    def sha256(self) -> str:
        """SHA-256 of the source, 64 hexadecimal digits."""
        return hashlib.sha256(self.source).hexdigest()


IMPORTED: dict[str, Plugin] = {}
"""The plug-ins of this process by name."""


def import_plugins(
    entries: str | Iterable[str],
    folders: Sequence[Path] = (Path(),),
    *,
    is_trusted: bool = False,
) -> None:
    """Imports plug-ins, so that the names that they register are known; each once per process.

    Args:
      entries: paths of Python files, or names: ``NAME.py`` in one of the folders, else an installed
        module; one or several.
      folders: searched for files, in this order.
      is_trusted: take them in the place of those that a run began with, even if they differ.

    Raises:
      ValueError: there is no such file or module, it raises an error, or it has changed since this
        process imported it.
    """
    for entry in [entries] if isinstance(entries, str) else entries:
        import_plugin(_find_plugin(entry, folders)._replace(is_trusted=is_trusted))


def import_plugin(plugin: Plugin) -> None:
    """Imports exactly this plug-in, as it was read; raises as ``import_plugins``."""
    earlier = IMPORTED.get(plugin.name)
    if earlier is not None and earlier.source != plugin.source:
        raise ValueError(
            f"plug-in {plugin.name}: {plugin.path} is another source than {earlier.path}, "
            "which this process has imported; start a new process, or rename one of them"
        )
    if earlier is None:
        _execute(plugin)
    if earlier is None or plugin.is_trusted:
        IMPORTED[plugin.name] = plugin


def find_name(entry: str) -> str:
    """Returns the name of the plug-in that an entry of ``plugins`` means.

    >>> find_name("parts/my_quantizer.py"), find_name("my_quantizer"), find_name("mine.quantizer")
    ('my_quantizer', 'my_quantizer', 'mine.quantizer')
    """
    return Path(entry).stem if _is_path(entry) else entry


def check_imported(entries: Iterable[str]) -> None:
    """Raises ValueError if this process has not imported one of the plug-ins of a config."""
    for name in map(find_name, entries):
        if name not in IMPORTED:
            raise ValueError(
                f"config.plugins: {name} is not imported; give --plugins=FOLDER/{name}.py, or in "
                f"Python import_plugins(['FOLDER/{name}.py']) before"
            )


def describe_plugins(entries: Iterable[str]) -> dict[str, str]:
    """Returns the SHA-256 of each imported plug-in of a config, by name."""
    return {name: IMPORTED[name].sha256 for name in map(find_name, entries)}


def list_flags(entries: Iterable[str]) -> list[str]:
    """Returns the arguments with which another process imports the same files."""
    plugins = [IMPORTED[name] for name in map(find_name, entries)]
    flags = [f"--plugins={plugin.path}" for plugin in plugins if plugin.is_file]
    return flags + ["--trust_plugins"] * any(plugin.is_trusted for plugin in plugins)


def copy_sources(workdir: Path, entries: Iterable[str]) -> None:
    """Writes the sources of a config's plug-ins into a folder of results, for the record."""
    for name in map(find_name, entries):
        (workdir / FOLDER).mkdir(parents=True, exist_ok=True)
        write_text(workdir / FOLDER / f"{name}.py", IMPORTED[name].source.decode())


def check_recorded(workdir: Path, recorded: Mapping[str, str]) -> None:
    """Raises ValueError if an imported plug-in is not the one that a folder was made with.

    Args:
      workdir: the folder, for the message.
      recorded: of ``describe_plugins``, when the folder was begun.
    """
    for name, sha256 in recorded.items():
        plugin = IMPORTED.get(name)
        if plugin is not None and plugin.sha256 != sha256 and not plugin.is_trusted:
            raise changed(workdir, plugin, sha256)


def changed(workdir: Path, plugin: Plugin, sha256: str) -> ValueError:
    """Returns the error for a plug-in that is not the one that a folder was made with."""
    kept = workdir / FOLDER / f"{plugin.name}.py"
    copy = f"; a copy of the old one is {kept}" if kept.exists() else ""
    return ValueError(
        f"plug-in {plugin.name} has changed since {workdir} was begun (SHA-256 of {plugin.path}: "
        f"{plugin.sha256[:_SHOWN]}, there {sha256[:_SHOWN]}{copy}): restore it, choose another "
        "--workdir, or to read the folder with it all the same give --trust_plugins"
    )


def read_plugin(path: Path, name: str | None = None) -> Plugin:
    """Returns the plug-in of a file, not imported; a name marks it as an installed module."""
    try:
        return Plugin(name or path.stem, path.resolve(), path.read_bytes(), is_file=name is None)
    except OSError as error:
        raise ValueError(f"plug-in {path}: {error.strerror}") from None


def find_installed(name: str) -> Path | None:
    """Returns the file of an installed module, without importing anything; None: there is none.

    The working folder does not count as installed, although Python may look there: it may hold
    files that came with somebody's results.
    """
    places: list[str] | None = _list_places()
    *packages, last = name.split(".")
    for package in packages:
        spec = importlib.machinery.PathFinder.find_spec(package, places)
        if spec is None or spec.submodule_search_locations is None:
            return None
        places = list(spec.submodule_search_locations)
    spec = importlib.machinery.PathFinder.find_spec(last, places)
    is_source = spec is not None and str(spec.origin).endswith(".py")
    return Path(str(spec.origin)) if spec is not None and is_source else None


def _list_places() -> list[str]:
    """Returns Python's search path without the working folder."""
    here = Path().resolve()
    return [place for place in sys.path if place and Path(place).resolve() != here]


def _is_path(entry: str) -> bool:
    return entry.endswith(".py") or "/" in entry


def _find_plugin(entry: Any, folders: Sequence[Path]) -> Plugin:
    if not isinstance(entry, str) or not find_name(entry):
        raise ValueError(f"config.plugins: each entry must be a file or a module, got {entry!r}")
    is_path = _is_path(entry)
    for folder in folders:
        path = folder / Path(entry if is_path else f"{entry}.py").expanduser()
        if path.is_file():
            return read_plugin(path)
    if not is_path and (installed := find_installed(entry)) is not None:
        return read_plugin(installed, entry)
    places = " or ".join(dict.fromkeys(str(folder.resolve()) for folder in folders))
    also = "" if is_path else f"; nor is a module {entry} installed"
    raise ValueError(
        f"config.plugins: no file {entry if is_path else f'{entry}.py'} in {places}{also}"
    )


def _execute(plugin: Plugin) -> None:
    """Runs the source of a plug-in; an installed module is imported under its own name."""
    try:
        if not plugin.is_file:
            _import_installed(plugin)
            return
        module = ModuleType(f"_plugin_{plugin.name}")
        module.__file__ = str(plugin.path)
        sys.modules[module.__name__] = module  # where dataclasses look their module up
        exec(compile(plugin.source, plugin.path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        sys.modules.pop(f"_plugin_{plugin.name}", None)
        raise ValueError(f"plug-in {describe_error(error, plugin.path)}") from error


def _import_installed(plugin: Plugin) -> None:
    """Imports an installed module under its own name, and never one of the working folder."""
    path, sys.path[:] = list(sys.path), _list_places()
    try:
        found = getattr(importlib.import_module(plugin.name), "__file__", None)
    finally:
        sys.path[:] = path
    if found is None or Path(found).resolve() != plugin.path:
        raise ValueError(f"a module {plugin.name} is imported already, from {found}")
