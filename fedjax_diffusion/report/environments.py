"""Machines and versions of a report's runs, and the differences that may change numbers."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fedjax_diffusion.experiment.run_config import flatten
from fedjax_diffusion.runs import environment

_NOT_SHOWN = ("started", "compute_changes", "compute.tune", "compute.tune_seconds")
_OF_NUMBERS = (
    *("fedjax_diffusion", "git_commit", "jax", "platform", "device", "machine", "num_devices"),
    *("xla_flags", "data.images_sha256", "data.labels_sha256"),
)
"""Facts by which the numbers of two runs may differ."""
_MAX_VALUES = 6


class Fact(NamedTuple):
    """A fact about runs.

    Attributes:
      name: dotted, as in environment.json.
      values: its values as text, each with the number of runs that have it if there are several.
      is_mixed: whether it differs and may change numbers.
    """

    name: str
    values: str
    is_mixed: bool


def read_facts(
    folders: Iterable[Path], axes: Iterable[str] = (), *, are_runs: bool = True
) -> tuple[list[Fact], list[str]]:
    """Returns the facts that the environment.json of folders states, and warnings.

    A folder that has no such file yet is left out, as is a damaged one, with a warning.

    Args:
      folders: of the runs, or of a study.
      axes: dotted keys of the settings that are meant to differ; facts of their groups may.
      are_runs: whether they are folders of runs.
    """
    read: list[Mapping[str, Any]] = []
    warnings: list[str] = []
    for folder in folders:
        try:
            found = environment.read(folder, is_run=are_runs)
        except ValueError as error:
            warnings.append(str(error))
            continue
        if found:
            read.append(flatten(found))
    names = dict.fromkeys(name for facts in read for name in facts if name not in _NOT_SHOWN)
    meant = {axis.partition(".")[0] for axis in axes}
    facts = [_to_fact(name, read, name.partition(".")[0] in meant) for name in names]
    if mixed := [fact.name for fact in facts if fact.is_mixed]:
        warnings.append(
            f"The runs differ in {', '.join(mixed)}: differences between their numbers may come "
            "from there, not from their settings. See Environment."
        )
    return facts, warnings


def _to_fact(name: str, read: Iterable[Mapping[str, Any]], is_meant: bool) -> Fact:
    counts = Counter(_to_text(facts.get(name)) for facts in read)
    if len(counts) == 1:
        return Fact(name, next(iter(counts)), False)
    texts = [f"{text} ({number})" for text, number in counts.most_common(_MAX_VALUES)]
    more = len(counts) - _MAX_VALUES
    texts += [f"and {more} more"] * (more > 0)
    return Fact(name, "; ".join(texts), name in _OF_NUMBERS and not is_meant)


def _to_text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return value if isinstance(value, str) else json.dumps(value)
