"""Play of one point of a sweep: under its claim, with its failure in its folder."""

import dataclasses
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from fedjax_diffusion.evaluation.quality import EvaluationConfig
from fedjax_diffusion.experiment.checkpoints import Checkpoints
from fedjax_diffusion.experiment.experiment import Experiment
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.sweep_config import ALL, LAST
from fedjax_diffusion.host.interruption import Interruption
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.runs import claims, records
from fedjax_diffusion.runs.among_many import ALONE, AmongMany
from fedjax_diffusion.runs.claims import ClaimedError, LostClaimError
from fedjax_diffusion.runs.evaluate import evaluate
from fedjax_diffusion.runs.folder import CHECKPOINTS, read_config
from fedjax_diffusion.runs.runner import run
from fedjax_diffusion.sweep.folder import Sweep
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.listing import find_folder, find_folders
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.programs import GroupChoices
from fedjax_diffusion.sweep.states import (
    PointState,
    is_evaluated,
    mark_open,
    read_failure,
    read_state,
    read_states,
)

SAVE_SECONDS = 300.0
"""From one checkpoint of a point to the next."""


class PlayOptions(NamedTuple):
    """Choice of the points that are played.

    Attributes:
      only: labels or hashes, see ``Point.matches``; None: all points.
      limit: largest number of points to play now; None: all.
      is_retrying: play the points too that failed before now, each once.
      is_failing_fast: play no other point after a failure.
      is_evaluating: measure the quality of each finished point's images.
      num_workers: processes that play the sweep, among which open points are shared out to lanes.
    """

    only: str | None = None
    limit: int | None = None
    is_retrying: bool = False
    is_failing_fast: bool = False
    is_evaluating: bool = True
    num_workers: int = 1


class Task(NamedTuple):
    """One point to be played.

    Attributes:
      label: of the point, for messages.
      config: all settings of its run.
      folder: its run folder.
      evaluation: settings of the measurement that follows; None: none.
      choices: of the sweep's groups.
      progress: shows the progress within the point.
      interruption: asked after each round and while images are drawn.
      join: as in ``AmongMany``.
    """

    label: str
    config: RunConfig
    folder: Path
    evaluation: EvaluationConfig | None
    choices: GroupChoices
    progress: Progress
    interruption: Interruption
    join: Callable[[Experiment], Experiment] = ALONE.join


PlayPoint: TypeAlias = Callable[[Task], Any]
"""Plays one point: leaves a finished run folder, or raises."""


def play_point(task: Task) -> None:
    """Trains a point to its last round, or continues it, and evaluates its images."""

    def show(unit: str, number: int) -> None:
        task.progress.tell(f"{task.label}: {unit} {number}")

    def show_image(number: int) -> None:
        show("image", number)
        task.interruption.check(f"{task.folder}: the run is finished, its evaluation is not")

    run(
        task.config,
        task.folder,
        on_record=lambda record: show("round", record["round"] + 1),
        progress=task.progress,
        interruption=task.interruption,
        among=AmongMany(
            task.choices.find(task.config, task.progress),
            has_pictures=False,
            save_seconds=SAVE_SECONDS,
            join=task.join,
        ),
    )
    if task.evaluation is not None:
        evaluate(
            task.folder,
            dataclasses.asdict(task.evaluation),
            on_progress=show_image,
            data_dir=task.config.data.data_dir,
            join=task.join,
        )


def is_chosen(point: Point, options: PlayOptions) -> bool:
    """Returns whether a point is among those to play, by its label or hash."""
    return options.only is None or point.matches(options.only)


def is_open(sweep: Sweep, folder: Path, state: PointState, options: PlayOptions) -> bool:
    """Returns whether a point in this state is to be played."""
    if state.status == "failed":
        return options.is_retrying
    is_measured = not options.is_evaluating or is_evaluated(folder, sweep.base.evaluation)
    return not (state.is_done and is_measured)


def reopen_failed(sweep: Sweep, options: PlayOptions) -> PlayOptions:
    """Opens the chosen points that have failed, if ``options`` ask for it.

    Their number of attempts is kept. A point that fails again is closed to all workers.

    Returns:
      The options with which they are played: without a retry.
    """
    if options.is_retrying:
        rows = zip(sweep.points, find_folders(sweep), read_states(sweep), strict=True)
        for point, folder, state in rows:
            if state.status == "failed" and is_chosen(point, options):
                mark_open(folder)
    return options._replace(is_retrying=False)


def play_claimed(
    sweep: Sweep,
    point: Point,
    options: PlayOptions,
    choices: GroupChoices,
    play: PlayPoint,
    progress: Progress,
    interruption: Interruption,
) -> PointState | None:
    """Plays a point under its claim, and returns its state; None if it is another process's."""
    name = point.hash[:HASH_DIGITS]
    try:
        claim = claims.take(sweep.workdir / claims.FOLDER, name, what=f"point {point.label}")
    except ClaimedError:
        return None
    with claim:
        folder = find_folder(sweep, point)
        if not is_open(sweep, folder, read_state(folder), options):
            return None  # finished meanwhile
        evaluation = sweep.base.evaluation if options.is_evaluating else None
        try:
            config = _read_config(folder, point)
            play(Task(point.label, config, folder, evaluation, choices, progress, interruption))
        except (ClaimedError, LostClaimError) as error:
            progress.tell(f"{point.label}: left to another process: {error}")
            return None
        except Exception as error:
            if claim.is_owner():
                _write_failure(folder, error)
        else:
            if claim.is_owner():
                (folder / records.FAILED).unlink(missing_ok=True)
                _prune(folder, sweep.base.sweep.keep)
        return read_state(folder)


def _read_config(folder: Path, point: Point) -> RunConfig:
    """Returns the settings of a point, which uses the machine as it did when it began."""
    if not (folder / records.CONFIG).exists():
        return point.config
    return dataclasses.replace(point.config, compute=read_config(folder).compute)


def _prune(folder: Path, keep: str) -> None:
    """Removes the checkpoints that a finished point does not keep; a later evaluation needs one."""
    if keep != ALL:
        is_needed = keep == LAST or not records.read_evaluation(folder)
        Checkpoints(folder / CHECKPOINTS, keep=1).prune(int(is_needed))


def _write_failure(folder: Path, error: Exception) -> None:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(
        folder / records.FAILED,
        {
            "error": reason,
            "traceback": "".join(traceback.format_exception(error)),
            "attempts": int(read_failure(folder).get("attempts", 0)) + 1,
            "host": socket.gethostname(),
        },
    )
