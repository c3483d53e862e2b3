"""The one table of settings: the kind and range of every key, from the dataclasses' annotations."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from fedjax_diffusion.experiment.config_files import list_items, load_default
from fedjax_diffusion.experiment.networks import UNET, find_settings
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.values import Kind, find_kinds

_MODEL = "model"


def known_kinds(given: Mapping[str, Any]) -> dict[str, Kind]:
    """Returns the kinds of all settings by dotted key; in group ``model``, those of its network.

    Args:
      given: a config by dotted key.

    Raises:
      ValueError: there is no network of this name.
    """
    name = given.get(f"{_MODEL}.name", UNET)
    return dict(_known_kinds(find_settings(name)))


def format_settings() -> str:
    """Returns all settings as a Markdown table: key, what is allowed, default."""
    defaults = dict(list_items(load_default()))
    rows = [
        f"| `{key}` | {str(kind).replace('|', chr(92) + '|')} | `{defaults[key]!r}` |"
        for key, kind in known_kinds(defaults).items()
    ]
    return "\n".join(["| key | allowed | default |", "|---|---|---|", *rows, ""])


@functools.cache
def _known_kinds(model: type) -> dict[str, Kind]:
    """Returns the kinds of all settings, with a network that has these."""
    return dict(_list_kinds(RunConfig, model))


def _list_kinds(settings: type, model: type, prefix: str = "") -> Iterator[tuple[str, Kind]]:
    """Yields dotted key and kind of a dataclass's fields, and of those within."""
    for name, kind in find_kinds(settings).items():
        group = model if prefix + name == _MODEL else kind.type
        if dataclasses.is_dataclass(group):
            yield from _list_kinds(group, model, f"{prefix}{name}.")
        else:
            yield prefix + name, kind
