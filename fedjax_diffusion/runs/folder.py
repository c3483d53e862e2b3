"""The run folder before a run begins: whose it is, whether it can be written, what is left over."""

import json
import logging
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedjax_diffusion.experiment.checkpoints import CHECKPOINTS
from fedjax_diffusion.experiment.config import fill_missing, to_run_config
from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.experiment.run_config import RunConfig, flatten
from fedjax_diffusion.host.atomic import find_leftovers, remove_leftover
from fedjax_diffusion.host.figures import pictures_may_fail
from fedjax_diffusion.host.plugins import FOLDER, copy_sources, describe_plugins, find_name
from fedjax_diffusion.runs import claims, environment, records
from fedjax_diffusion.runs.changes import check_changes
from fedjax_diffusion.runs.learning import is_early_end
from fedjax_diffusion.runs.quality_log import QUALITY

_LOG = logging.getLogger(__name__)
_PICTURES = ("samples", "figures")
_OLD_NAMES = "before_restart_{}"
_OF_A_RUN = re.compile(
    r"(config|environment|summary)\.json|(metrics|quality)\.jsonl|training\.png|round_[0-9]+\.png|[0-9]+"
)
"""Files and folders that only the owner of a run folder writes."""
_OLD_SECONDS = 3600.0
"""Age at which a temporary file of another process is a leftover for certain."""


def read_config(workdir: Path) -> RunConfig:
    """Returns the config of a run folder.

    Raises:
      ValueError: the folder holds no run, or its config is no longer valid.
    """
    return to_run_config(read_settings(workdir))


def check_same_config(config: RunConfig, workdir: Path) -> None:
    """Raises ValueError if a folder is not empty and holds no run that this config continues."""
    path = workdir / records.CONFIG
    if not path.exists():
        if not is_unused(workdir):
            raise ValueError(f"{workdir} is not empty and no run folder; choose another --workdir")
        return
    check_changes(workdir, flatten(read_settings(workdir)), config)


def is_unused(workdir: Path) -> bool:
    """Returns whether a folder is missing, or holds nothing of a run.

    Claims, leftovers and the reason of a failure before the first round are nothing of a run.
    """
    leftovers = {entry.name for entry, _ in find_leftovers(workdir)}
    leftovers |= {claims.FOLDER, records.FAILED}
    return not workdir.is_dir() or all(entry.name in leftovers for entry in workdir.iterdir())


def is_finished(workdir: Path, config: RunConfig) -> bool:
    """Returns whether a run has a whole summary.json, of all its rounds or of an early end."""
    try:
        if not (workdir / records.SUMMARY).is_file():
            return False
        summary = records.read_summary(workdir)
    except ValueError:
        return False
    is_over = is_early_end(summary, config.stop_after_diverged_rounds)
    return is_over or summary["num_rounds"] == config.num_rounds


def begin(workdir: Path, experiment: Experiment) -> None:
    """Makes a run folder ready for the rounds; only the owner of its claim may call it.

    Leftovers of killed processes are removed, and every file that is needed at the end is tried.

    Raises:
      ValueError: something else has the name of a file of a run.
      OSError: the folder cannot be written to. Pictures that cannot be are a warning.
    """
    for path in _find_old_leftovers(workdir):
        remove_leftover(path)
    for name in (records.METRICS, records.SUMMARY, records.CONFIG, records.ENVIRONMENT):
        path = workdir / name
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is not a file; move it away and repeat the command")
    records.write_json(workdir / records.CONFIG, experiment.config.to_dict())
    _remove_summary(workdir)
    begun = environment.read(workdir)
    recorded = begun.get(records.PLUGINS, {})
    added = [entry for entry in experiment.config.plugins if find_name(entry) not in recorded]
    copy_sources(workdir, added)
    now = environment.update_lanes(begun, experiment) if begun else environment.describe(experiment)
    if begun and added:
        now[records.PLUGINS] = describe_plugins(added) | recorded
    if now != begun:
        records.write_json(workdir / records.ENVIRONMENT, now)
    _try_file(workdir / CHECKPOINTS)
    for name in _PICTURES:
        with pictures_may_fail():
            _try_file(workdir / name)


def _remove_summary(workdir: Path) -> None:
    """Removes the summary of fewer rounds than a run is to have; says so of a damaged one."""
    path = workdir / records.SUMMARY
    try:
        if path.exists():
            records.read_summary(workdir)
    except ValueError:
        _LOG.warning("%s is damaged; it is made again", path)
    path.unlink(missing_ok=True)


def set_run_aside(workdir: Path) -> None:
    """Moves the files that a run has written into a folder of their own, but for its config."""
    number = 1
    while (old := workdir / _OLD_NAMES.format(number)).exists():
        number += 1
    names = (records.METRICS, records.METRICS_CSV, QUALITY, records.EVALUATION, records.ENVIRONMENT)
    for name in (records.SUMMARY, CHECKPOINTS, *_PICTURES, records.EVENTS, FOLDER, *names):
        if (workdir / name).exists():
            old.mkdir(exist_ok=True)
            (workdir / name).rename(old / name)


def read_settings(workdir: Path) -> dict[str, Any]:
    """Returns the content of config.json, with the default for keys that it has not.

    Raises:
      ValueError: there is no such file, or it is damaged.
    """
    path = workdir / records.CONFIG
    if not path.exists():
        raise ValueError(f"{workdir} is not a run folder: it has no {records.CONFIG}")
    try:
        return fill_missing(dict(json.loads(path.read_bytes())))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy, or "
            "choose another --workdir"
        ) from error


def _find_old_leftovers(workdir: Path) -> Iterator[Path]:
    """Yields the temporary files and folders of processes that were killed."""
    for folder in (workdir, *(workdir / name for name in (CHECKPOINTS, *_PICTURES))):
        for path, name in find_leftovers(folder):
            if _OF_A_RUN.fullmatch(name) or _is_old(path):
                yield path
    yield from (workdir / CHECKPOINTS).glob("*.orbax-checkpoint-tmp*")  # of an earlier version
    yield from filter(_is_old, (workdir / claims.FOLDER).glob(".*-*"))


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > _OLD_SECONDS
    except OSError:
        return False


def _try_file(folder: Path) -> None:
    """Makes a folder if needed, and a file in it that has no name."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
