"""Settings that may change while a run goes on: those that leave its numbers as they are."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedjax_diffusion.experiment.compute import AUTO, ComputeConfig
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.host.weight_source import find_hash
from fedjax_diffusion.runs import environment
from fedjax_diffusion.runs.records import SWEEP

_FREE = (
    "checkpoint.",
    "evaluation.",
    "study.",
    "compare.",
    "sweep.",
    "compute.data",
    "compute.tune",
    "data.data_dir",
    "plugins",
    "sampling.fixed_noise",
    "tensorboard",
    "stop_after_diverged_rounds",
)
"""Settings that change no number of a run, as beginnings of their dotted keys.

But for ``compute``, those that ``sweep.identity`` leaves out are among them.
"""
_AS_BEGUN = ("client_map", "chunk_size", "conv", "cpu_devices", "remat")
"""Settings of ``compute`` that round differently: a run keeps those with which it began."""


def check_changes(workdir: Path, earlier: Mapping[str, Any], new: RunConfig) -> None:
    """Raises ValueError if a run cannot go on with other settings.

    It can if they change no number that a run writes: those of ``_FREE``, ``compute`` where it is
    ``auto`` or as the run began, another place of the weights that it started from, and more rounds
    where no schedule depends on their number.

    Args:
      workdir: the folder of the run, which has begun.
      earlier: its settings by dotted key.
      new: settings with which it is to go on.
    """
    here = new.flatten()
    for key in {**earlier, **here}:
        there, value = earlier.get(key), here.get(key)
        if (
            there == value
            or (key == "init_from" and there and value and find_hash(there) == find_hash(value))
            or key.startswith(_FREE)
            or _is_as_begun(workdir, key, value, new.compute)
        ):
            continue
        what, advice = "of another config", "choose another --workdir"
        if key == "num_rounds" and new.num_rounds > earlier[key]:
            if (workdir.absolute().parent.parent / SWEEP).exists():
                what, advice = "of a sweep", f"add a point to the sweep: --sweep.{key}={value}"
            elif new.round_schedule == "constant":
                continue
            else:
                what = f"whose learning rates depend on {key}, by {new.round_schedule}"
        difference = format_difference(key, there, value)
        raise ValueError(f"{workdir} holds a run {what} ({difference}); {advice}")


def format_difference(key: str, there: Any, here: Any) -> str:
    """Returns one line on two values of a setting; of rows, the first that differs.

    >>> format_difference("seed", 0, 1)
    'seed: 0 there, 1 here'
    >>> format_difference("data.name", "digits", None)
    "data.name: 'digits' there, None here"
    """
    if isinstance(there, str) and isinstance(here, str) and "\n" in there + here:
        pairs = itertools.zip_longest(there.splitlines(), here.splitlines())
        for line, (there, here) in enumerate(pairs, 1):
            if there != here:
                return f"{key}, line {line}: {there!r} there, {here!r} here"
    return f"{key}: {there!r:.200} there, {here!r:.200} here"


def _is_as_begun(workdir: Path, key: str, value: Any, asked: ComputeConfig) -> bool:
    """Returns whether a value leaves the use of the machine as it was when the run began."""
    group, _, name = key.partition(".")
    if group != "compute" or name not in _AS_BEGUN:
        return False
    if value in (AUTO, None):
        return True
    begun = environment.read_compute(environment.read(workdir), asked)
    return begun is not None and str(getattr(begun, name)) == str(value)  # '2' is 2 devices
