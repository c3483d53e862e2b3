"""The identity of a run: the hash of the settings that change its numbers, and its folder's name.

Guarantees:
  Equal settings have equal hashes in every version: 1 and 1.0 are equal where the type is float, as
  are a tuple and a list; a setting that was renamed is hashed under its first name; one that was
  added later is left out while it has its neutral value.
"""

import dataclasses
import functools
import hashlib
import json
import re
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fedjax_diffusion.host.old_names import OLD_NAMES
from fedjax_diffusion.host.weight_source import find_hash, shorten_hash

if TYPE_CHECKING:  # it imports JAX, and a sweep's status is read without
    from fedjax_diffusion.experiment.run_config import RunConfig

NOT_IN_IDENTITY = (
    *("compute", "checkpoint", "compare", "sweep", "study", "evaluation", "data.data_dir"),
    *("plugins", "sampling.fixed_noise", "tensorboard"),
)
"""Groups and settings that change no number of a run, or that a run does not read.

A plug-in is in the identity by the names of it that the settings use.
"""
BUT_IN_IDENTITY = ("compute.dtype",)
_PREFIXES = tuple(f"{name}." for name in NOT_IN_IDENTITY)
NEUTRAL: dict[str, Any] = {
    "allocator.schedule.bits": [],
    "allocator.schedule.by_weight": False,
    "allocator.schedule.linear_rounds": None,
    "data.fit": "crop",
    "data.size": None,
    "devices.csv": None,
    "diffusion.loss": "ddpm",
    "init_from": None,
    "faults.damaged": 0.0,
    "faults.diverging": 0.0,
    "faults.diverging_factor": None,
    "faults.dropped_before_upload": 0.0,
    "faults.dropped_during_upload": 0.0,
    "faults.late": 0.0,
    "federated.average": "mean",
    "federated.max_update_norm": None,
    "federated.num_trimmed": 1,
    "model.name": "unet",
    "stop_after_diverged_rounds": None,
}
"""Settings added since the first sweeps, with the value that changes nothing."""
INIT_FROM = "init_from"
"""The setting that is the same wherever its weights lie."""
HASH_DIGITS = 12
"""Of the hash, in the name of a folder: the only part of the name that is looked up."""
MAX_LABEL = 60
_ROWS_DIGITS = 8
FIRST_NAMES = {new: old for old, new in reversed(OLD_NAMES["config"].items())}
"""The first name of each setting that was renamed, by the name of today."""


def is_in_identity(key: str) -> bool:
    """Returns whether a setting, by its dotted key, changes the numbers of a run.

    >>> is_in_identity("seed"), is_in_identity("compute.conv"), is_in_identity("compute.dtype")
    (True, False, True)
    """
    return key in BUT_IN_IDENTITY or not f"{key}.".startswith(_PREFIXES)


def hash_config(config: "RunConfig") -> str:
    """Returns the identity of a run: 64 hexadecimal digits."""
    return hash_settings(dict(read_settings(config)))


def hash_settings(
    settings: Mapping[str, Any],
    neutral: Mapping[str, Any] = NEUTRAL,
    first_names: Mapping[str, str] = FIRST_NAMES,
) -> str:
    """Returns the SHA-256 of settings, in hexadecimal digits.

    Args:
      settings: of ``read_settings``; those that change no number are left out here.
      neutral: value by key at which a setting is left out.
      first_names: the key that is hashed in the place of another.
    """
    hashed = {
        first_names.get(key, key): identify_value(key, value)
        for key, value in settings.items()
        if is_in_identity(key) and not (key in neutral and neutral[key] == value)
    }
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_settings(part: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields dotted key and plain value of every setting in a config, or in one of its groups.

    A whole number is a float where the type is float, and a tuple is a list.
    """
    for name, is_float in _fields(type(part)):
        value = getattr(part, name)
        if dataclasses.is_dataclass(value):
            yield from read_settings(value, f"{prefix}{name}.")
        else:
            yield prefix + name, _to_plain(value, is_float)


def identify_value(key: str, value: Any) -> Any:
    """Returns the value that is hashed: of weights to start from, their hash without the path."""
    return find_hash(value) if key == INIT_FROM and isinstance(value, str) else value


def make_label(overrides: Mapping[str, Any], keys: Collection[str]) -> str:
    """Returns a readable name of a point, at most 60 of the characters ``A-Za-z0-9.+-``.

    Two points may have the same label, as what does not fit is cut off; their hashes differ.

    Args:
      overrides: the plain values that are swept, by dotted key.
      keys: all keys of the config.

    >>> make_label({"allocator.method": "fixed_bits:8", "seed": 3}, ["allocator.method", "seed"])
    'method-fixed-bits-8+seed-3'
    """
    pairs = [f"{_clean(shorten(k, keys))}-{_format(v)}" for k, v in overrides.items()]
    return "+".join(pairs)[:MAX_LABEL].rstrip("+.-") or "base"


def shorten(key: str, keys: Collection[str]) -> str:
    """Returns the shortest ending of a key that no other key has.

    >>> shorten("data.name", ["data.name", "model.name"]), shorten("data.split", ["data.split"])
    ('data.name', 'split')
    """
    parts = key.split(".")
    endings = [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]
    others = [f".{other}" for other in keys if other != key]
    clear = [e for e in endings if not any(other.endswith(f".{e}") for other in others)]
    return (clear or [key])[0]


def shorten_rows(value: Any) -> Any:
    """Returns a few digits of a SHA-256 for the rows of a file or behind the path of weights.

    Any other value is returned as it is.
    """
    if isinstance(value, str) and find_hash(value) is not None:
        return shorten_hash(value, _ROWS_DIGITS)
    if isinstance(value, str) and "\n" in value.strip():
        return hashlib.sha256(value.encode()).hexdigest()[:_ROWS_DIGITS]
    return value


def make_folder_name(label: str, hash: str) -> str:
    """Returns the name of a point's folder."""
    return f"{label}--{hash[:HASH_DIGITS]}"


def folder_name_to_hash(name: str) -> str:
    """Returns the digits of the hash in the name of a point's folder.

    >>> folder_name_to_hash("shadowing-db--1.5--0123456789ab")
    '0123456789ab'
    """
    return name.rpartition("--")[2]


@functools.cache
def _fields(kind: Any) -> list[tuple[str, bool]]:
    """Returns the fields of a dataclass, and whether the numbers in them are floats."""
    hints = typing.get_type_hints(kind)
    return [(field.name, _holds_floats(hints[field.name])) for field in dataclasses.fields(kind)]


def _holds_floats(hint: Any) -> bool:
    return hint is float or any(map(_holds_floats, typing.get_args(hint)))


def _to_plain(value: Any, is_float: bool) -> Any:
    if isinstance(value, tuple | list):
        return [_to_plain(element, is_float) for element in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value + 0.0 if is_float and is_number else value  # -0.0 becomes 0.0


def _format(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "-".join(map(_format, value)) or "none"
    return repr(value) if isinstance(value, int | float) else _clean(str(shorten_rows(value)))


def _clean(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-")
