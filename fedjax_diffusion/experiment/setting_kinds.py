"""The one table of settings: the kind and range of every key, from the dataclasses' annotations."""

import dataclasses
from collections.abc import Iterable, Iterator

from fedjax_diffusion.experiment.config_files import list_items, load_default
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.task import find_model
from fedjax_diffusion.values import Kind, find_kinds

_MODEL = "model"


def known_kinds(given: Iterable[str]) -> dict[str, Kind]:
    """Returns the kinds of all settings by dotted key; in group ``model``, those of its network.

    Args:
      given: dotted keys of a config.
    """
    keys = {key.removeprefix(f"{_MODEL}.") for key in given if key.startswith(f"{_MODEL}.")}
    return dict(_list_kinds(RunConfig, find_model(keys)))


def format_settings() -> str:
    """Returns all settings as a Markdown table: key, what is allowed, default."""
    defaults = dict(list_items(load_default()))
    rows = [
        f"| `{key}` | {str(kind).replace('|', chr(92) + '|')} | `{defaults[key]!r}` |"
        for key, kind in known_kinds(defaults).items()
    ]
    return "\n".join(["| key | allowed | default |", "|---|---|---|", *rows, ""])


def _list_kinds(settings: type, model: type, prefix: str = "") -> Iterator[tuple[str, Kind]]:
    """Yields dotted key and kind of a dataclass's fields, and of those within."""
    for name, kind in find_kinds(settings).items():
        group = model if prefix + name == _MODEL else kind.type
        if dataclasses.is_dataclass(group):
            yield from _list_kinds(group, model, f"{prefix}{name}.")
        else:
            yield prefix + name, kind
