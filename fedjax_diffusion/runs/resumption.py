"""The round at which a run goes on: its newest checkpoint that is whole and fits its record."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedjax_diffusion.data import ImageDataset
from fedjax_diffusion.data.report import identify
from fedjax_diffusion.experiment.checkpoint_files import DamagedError
from fedjax_diffusion.experiment.checkpoints import Checkpoints, ForeignError, Saved
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.host.processes import agree, is_primary
from fedjax_diffusion.host.weight_source import find_hash
from fedjax_diffusion.runs import environment
from fedjax_diffusion.runs.folder import CHECKPOINTS
from fedjax_diffusion.runs.metrics_log import MissingLinesError, check_lines, count_lines
from fedjax_diffusion.runs.records import METRICS

_LOG = logging.getLogger(__name__)
_NOT_IN_STATE = (
    "compute.",
    "checkpoint.",
    "sampling.",
    "evaluation.",
    "study.",
    "compare.",
    "sweep.",
    "data.data_dir",
    "plugins",
    "stop_after_diverged_rounds",
    "tensorboard",
)
"""Settings that do not decide a run's state, as beginnings of their dotted keys."""
_ADVICE = (
    "restore it from a copy, or start the run again with --restart, which keeps the old files in a "
    "folder of their own"
)


def open_checkpoints(workdir: Path, config: RunConfig, dataset: ImageDataset | None) -> Checkpoints:
    """Returns the checkpoints of a run folder, which know the run that they belong to.

    Args:
      workdir: the run folder.
      config: of the run.
      dataset: the data of the run; None: they are not compared.
    """
    settings = {k: v for k, v in config.flatten().items() if not k.startswith(_NOT_IN_STATE)}
    if config.round_schedule == "constant":
        settings.pop("num_rounds")
    settings["init_from"] = config.init_from and find_hash(config.init_from)  # wherever it lies
    facts = {} if dataset is None else identify(dataset)
    identity = settings | {f"data.{key}": value for key, value in facts.items()}
    return Checkpoints(workdir / CHECKPOINTS, config.checkpoint.keep, identity)


def find_start(workdir: Path, checkpoints: Checkpoints, every_rounds: int) -> int:
    """Returns the first round to play; checkpoints that cannot be used are set aside and named.

    Args:
      workdir: the run folder, of which this process holds the claim.
      checkpoints: its checkpoints.
      every_rounds: from one checkpoint to the next; tells of folders of earlier versions, of which
        nothing else does, whether there must be one.

    Raises:
      ValueError: rounds were played, but no checkpoint can be used, or a line of metrics.jsonl is
        not the one that the run wrote. Nothing is changed then.
    """
    first, refusal = 0, None
    if is_primary():
        try:
            first = _choose(workdir, checkpoints, every_rounds)
        except (ValueError, OSError) as error:  # the others wait for an answer
            refusal = error
    if not agree(int(refusal is None)):
        raise refusal or ValueError(f"{workdir}: the run's first process could not resume it")
    return agree(first)


def find_newest(checkpoints: Checkpoints) -> tuple[int | None, str]:
    """Returns the round of the newest whole checkpoint, and the reasons against newer ones.

    The round is None if there is none. Nothing is changed: a run may be going on.
    """
    reasons = []
    for round, saved in _verify_all(checkpoints):
        if isinstance(saved, Saved):
            return round, "; ".join(reasons)
        reasons.append(f"{checkpoints.path(round)}: {saved}")
    return None, "; ".join(reasons)


def _choose(workdir: Path, checkpoints: Checkpoints, every_rounds: int) -> int:
    """Returns the first round to play, after what cannot be used was set aside."""
    path = workdir / METRICS
    unusable: list[tuple[int, str, Any]] = []
    for round, saved in _verify_all(checkpoints):
        if isinstance(saved, Saved):
            try:
                check_lines(path, round, saved.record)
            except MissingLinesError as error:  # rounds after an older checkpoint can be replayed
                unusable.append((round, "ahead", error))
            except ValueError as error:
                raise ValueError(f"{error}; {_ADVICE}") from error
            else:
                _set_aside(checkpoints, unusable, round)
                if saved.record is None:
                    _LOG.warning(
                        "%s: of an earlier version, without checksums", checkpoints.path(round)
                    )
                return round
        else:
            unusable.append((round, _find_word(saved), saved))
    if unusable:
        reasons = "; ".join(f"{checkpoints.path(r)}: {reason}" for r, _, reason in unusable)
        raise ValueError(f"no checkpoint can be used ({reasons}); {_ADVICE}")
    num_lines, had_one = count_lines(workdir), environment.had_checkpoint(workdir)
    if num_lines and (num_lines > every_rounds if had_one is None else had_one):
        raise ValueError(
            f"{workdir / CHECKPOINTS} has no checkpoint, but {path.name} has {num_lines} rounds; "
            f"{_ADVICE}"
        )
    if num_lines:
        _LOG.warning("%s: no checkpoint yet, %d rounds are played again", workdir, num_lines)
    return 0


def _verify_all(checkpoints: Checkpoints) -> Iterator[tuple[int, Saved | DamagedError]]:
    """Yields each checkpoint, the newest first, or the reason against it."""
    for round in checkpoints.rounds():
        try:
            yield round, checkpoints.verify(round)
        except DamagedError as error:
            yield round, error


def _set_aside(checkpoints: Checkpoints, unusable: list[tuple[int, str, Any]], first: int) -> None:
    for round, word, reason in unusable:
        path = checkpoints.path(round)
        moved = checkpoints.set_aside(round, word)
        _LOG.warning(
            "%s: %s; set aside as %s, going on at round %d", path, reason, moved.name, first
        )


def _find_word(error: DamagedError) -> str:
    return "foreign" if isinstance(error, ForeignError) else "damaged"
