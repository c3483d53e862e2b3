"""The plug-ins of a folder of results: imported to read it, never from the folder itself.

Results may come from anybody. A command that reads a folder imports a plug-in only from a file that
the user names, or from an installed module, and only if its SHA-256 is the recorded one, unless the
user trusts it as it is.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedjax_diffusion.host.plugins import (
    FOLDER,
    Plugin,
    changed,
    find_installed,
    find_name,
    import_plugin,
    read_plugin,
)
from fedjax_diffusion.runs.records import CONFIG, ENVIRONMENT, PLUGINS, SUMMARY, SWEEP


def open_plugins(workdir: Path, given: Iterable[str], *, is_trusted: bool = False) -> None:
    """Imports the plug-ins with which a run, sweep, comparison or study was made.

    Args:
      workdir: the folder; nothing is done if it has none.
      given: paths of the user's files; other plug-ins are taken from installed modules.
      is_trusted: take files that differ from those with which the folder was made.

    Raises:
      ValueError: in one line with the remedy: a plug-in is not given and not installed, it differs
        from the recorded one, it lies in the folder, or the folder has no plug-in of this name.
    """
    entries, recorded = read_recorded(workdir)
    names = list(map(find_name, entries))
    files = {Path(path).stem: Path(path).expanduser() for path in given}
    for name in files:
        if name not in names:
            has = f"it has {', '.join(names)}" if names else "it has none"
            raise ValueError(f"--plugins: {workdir} was made without a plug-in {name}; {has}")
    for name in names:
        plugin = _find(workdir, name, files.get(name))
        sha256 = recorded.get(name)
        if not is_trusted and sha256 is None:
            raise ValueError(
                f"{workdir} has no SHA-256 of plug-in {name}: to import {plugin.path} all the same "
                "give --trust_plugins"
            )
        if not is_trusted and sha256 is not None and plugin.sha256 != sha256:
            raise changed(workdir, plugin, sha256)
        import_plugin(plugin._replace(is_trusted=is_trusted))


def read_recorded(workdir: Path) -> tuple[list[str], dict[str, str]]:
    """Returns the ``plugins`` of a folder's settings, and the SHA-256 of each by its name.

    A file that is missing or damaged has none: those who read it for more report it.
    """
    sweep = _read(workdir / SWEEP)
    settings = _take(sweep, "base") if sweep else _read(workdir / CONFIG)
    entries = settings.get("plugins")
    files = [sweep, _read(workdir / ENVIRONMENT), _read(workdir / SUMMARY)]
    recorded = {key: value for content in files for key, value in _take(content, PLUGINS).items()}
    names = entries if isinstance(entries, list) else []
    return [name for name in names if isinstance(name, str)], recorded


def _find(workdir: Path, name: str, given: Path | None) -> Plugin:
    if given is not None:
        if workdir.resolve() in given.resolve().parents:
            raise ValueError(
                f"--plugins={given} lies in {workdir}, from which nothing is imported: read it, "
                "and copy it to a place of your own"
            )
        return read_plugin(given)
    installed = find_installed(name)
    if installed is None:
        raise ValueError(
            f"{workdir} was made with plug-in {name}, which is not installed; give "
            f"--plugins=PATH/{name}.py"
            + f" ({workdir / FOLDER} has a copy to read)"
            * (workdir / FOLDER).is_dir()
        )
    return read_plugin(installed, name)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _take(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return found if isinstance(found := content.get(key), dict) else {}
