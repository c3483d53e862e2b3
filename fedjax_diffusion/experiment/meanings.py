"""Meaning and unit of every setting, from the docstring of the dataclass that holds it."""

import dataclasses
import functools
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

_ENTRY = re.compile(r"^  (\w+): (.*(?:\n    .*)*)", re.MULTILINE)
_REGISTRY = re.compile(r"(?:a key of|one of) ``(\w+)``")
_UNITS = {
    "dbm_per_hz": "dBm/Hz",
    "seconds": "s",
    "meters": "m",
    "hz": "Hz",
    "db": "dB",
    "percent": "%",
    "bits": "bits",
}
"""Units by the ending of a setting's name."""
UNKNOWN = "?"
"""Meaning of a field of a user's own class whose docstring does not describe it."""


class Setting(NamedTuple):
    """One setting of a config.

    Attributes:
      key: dotted.
      value: as plain as in the config.
      unit: empty if it has none, or if the meaning names it.
      meaning: one or more sentences, with the range.
    """

    key: str
    value: Any
    unit: str
    meaning: str


def list_settings(part: Any, prefix: str = "") -> Iterator[Setting]:
    """Yields every setting of a config, or of one of its groups, in the order of the fields.

    Args:
      part: a ``RunConfig``, or a dataclass in it.
      prefix: of the keys.
    """
    meanings = read_meanings(type(part))
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value):
            yield from list_settings(value, f"{prefix}{field.name}.")
        else:
            meaning = meanings.get(field.name, UNKNOWN)
            yield Setting(prefix + field.name, value, split_unit(field.name)[1], meaning)


@functools.cache
def read_meanings(kind: type) -> dict[str, str]:
    """Returns the meaning of each field of a dataclass, from the Attributes of its docstring.

    "A key of" a table of names is replaced by the names in it.
    """
    _, _, attributes = (inspect.getdoc(kind) or "").partition("\nAttributes:\n")
    attributes = re.split(r"^(?=\S)", attributes, maxsplit=1, flags=re.MULTILINE)[0]
    registries = vars(sys.modules[kind.__module__])

    def name_choices(found: re.Match[str]) -> str:
        names = registries.get(found[1])
        return found[0] if names is None else " | ".join(map(str, names))

    return {
        name: _REGISTRY.sub(name_choices, " ".join(text.split())).replace("``", "")
        for name, text in _ENTRY.findall(attributes)
    }


def split_unit(name: str) -> tuple[str, str]:
    """Returns the name of a setting without the unit at its end, and the unit; empty for none.

    >>> split_unit("bandwidth_hz"), split_unit("time_budgets_seconds"), split_unit("seed")
    (('bandwidth', 'Hz'), ('time_budgets', 's'), ('seed', ''))
    """
    end = next((end for end in _UNITS if name.endswith(f"_{end}")), "")
    return name.removesuffix(f"_{end}"), _UNITS.get(end, "")
