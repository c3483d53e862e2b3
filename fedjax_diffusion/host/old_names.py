"""Names that earlier versions wrote into files, and what they are called today."""

from collections.abc import Mapping
from typing import Any

OLD_NAMES: dict[str, dict[str, str]] = {
    "config": {
        "partition.scheme": "partition.name",
        "quantization.scheme": "quantization.name",
        "allocator.opponents": "allocator.baselines",
        "compare.schemes": "compare.variants",
    },
    "metrics": {"update_energy": "update_squared_norm"},
    "summary": {"schemes": "methods", "scheme": "method"},
    "runs": {"scheme": "variant"},
    "checkpoint": {
        "level_error": "bit_width_error",
        "update_energy": "update_squared_norm",
        "client_state": "client_memory",
    },
    "problem": {
        "level_payload_bits": "bit_width_payload_bits",
        "level_error": "bit_width_error",
    },
}
"""Old name to today's, by what holds it: the keys of a config, a line of metrics.jsonl,
summary.json, the columns of a comparison's runs.csv, a checkpoint, the JSON file of a problem."""


def to_current_names(kind: str, content: Any) -> Any:
    """Returns what was read from a file, with today's names of its fields.

    Args:
      kind: of ``OLD_NAMES``.
      content: plain values as JSON holds them; dicts within lists and dicts are renamed too.

    >>> to_current_names("summary", {"schemes": [{"scheme": "this_run"}]})
    {'methods': [{'method': 'this_run'}]}
    """
    if isinstance(content, Mapping):
        names = OLD_NAMES[kind]
        return {names.get(k, k): to_current_names(kind, v) for k, v in content.items()}
    if isinstance(content, list):
        return [to_current_names(kind, value) for value in content]
    return content


def to_old_name(kind: str, name: str) -> str:
    """Returns the first name that a field of today had in files.

    >>> to_old_name("config", "partition.name"), to_old_name("config", "seed")
    ('partition.scheme', 'seed')
    """
    return {new: old for old, new in OLD_NAMES[kind].items()}.get(name, name)
