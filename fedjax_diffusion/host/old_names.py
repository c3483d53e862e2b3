"""Names that earlier versions wrote into files, and the current names."""

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
"""Old name to current name, by kind of file: the keys of a config, a line of metrics.jsonl,
summary.json, the columns of a comparison's runs.csv, a checkpoint, the JSON file of a problem."""


def to_current_names(kind: str, content: Any) -> Any:
    """Returns the content of a file with the current names of its fields.

    Args:
      kind: a key of ``OLD_NAMES``.
      content: plain values as in JSON; dicts within lists and dicts are renamed too.

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
    """Returns the old name of a current field, or the name itself if it never changed.

    >>> to_old_name("config", "partition.name"), to_old_name("config", "seed")
    ('partition.scheme', 'seed')
    """
    return {new: old for old, new in OLD_NAMES[kind].items()}.get(name, name)
