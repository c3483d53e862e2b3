"""Host loop of a run: plan, step, record, save and draw, with automatic resumption."""

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fedjax_diffusion.experiment.build import Experiment, ProgramChoice, build
from fedjax_diffusion.experiment.checkpoints import Checkpoints
from fedjax_diffusion.experiment.config import (
    GivenConfig,
    fill_missing,
    to_run_config,
    with_overrides,
)
from fedjax_diffusion.experiment.run_config import RunConfig, flatten
from fedjax_diffusion.host.images import save_grid
from fedjax_diffusion.host.interruption import NEVER, Interruption, StoppedBySignal
from fedjax_diffusion.host.processes import agree, find_largest, is_alone, is_primary, wait_for_all
from fedjax_diffusion.host.progress import SILENT, Progress
from fedjax_diffusion.runs import claims, environment, records
from fedjax_diffusion.runs.figure import draw_figure
from fedjax_diffusion.runs.quality_log import QualityLog
from fedjax_diffusion.runs.rounds import OnRecord, play_first_round, play_round
from fedjax_diffusion.simulator import SimulationState


class AmongMany(NamedTuple):
    """Play of one run of many: what is shared, and what is left out. It changes no number.

    Attributes:
      choice: made once for all runs that share a program.
      has_pictures: draw images every ``sampling.every_rounds`` rounds, and the figure. Without:
        images after the last round; ``report`` draws the figure.
      save_seconds: seconds from one checkpoint to the next, instead of
        ``checkpoint.every_rounds``; the last round is always saved. None: by rounds.
    """

    choice: ProgramChoice = ProgramChoice()
    has_pictures: bool = True
    save_seconds: float | None = None


ALONE = AmongMany()
OnStart = Callable[[Experiment, int], Any]
"""Callback at the start of a run, with the experiment and the number of the first round."""


class RunResult(NamedTuple):
    """A finished run.

    Attributes:
      workdir: the run folder.
      records: one dict per round, as in metrics.jsonl.
      summary: the content of summary.json.
      is_new: False if the run was finished before this call, which then changed nothing.
    """

    workdir: Path
    records: list[dict]
    summary: dict
    is_new: bool


class _Around(NamedTuple):
    """Arguments of ``run`` that concern the loop over rounds."""

    on_start: OnStart | None
    on_record: OnRecord | None
    progress: Progress
    interruption: Interruption
    among: AmongMany


def run(
    config: GivenConfig,
    workdir: str | Path,
    *,
    on_start: OnStart | None = None,
    on_record: OnRecord | None = None,
    progress: Progress = SILENT,
    interruption: Interruption = NEVER,
    among: AmongMany = ALONE,
) -> RunResult:
    """Trains to the last round and writes a run folder; continues an interrupted run.

    Args:
      config: from ``load_config``, or a ``RunConfig``.
      workdir: the run folder, created if needed. It may hold an earlier part of the same run.
      on_start: called before the first round, with the experiment and the round's number.
      on_record: called after each round, with its record.
      progress: shows trials and compilation, which may take minutes.
      interruption: asked after each round; a run that is to stop saves its state first.
      among: what is shared with other runs, or left out, if there are many.

    Returns:
      The result; for a finished run, the earlier one.

    Raises:
      ValueError: the config is invalid, the folder holds a run of another config, or another
        process works in it. Nothing is written then.
      DeviceMemoryError: a round does not fit into a device's memory with any settings that the
        config allows.
      LostClaimError: another process took the folder over, as this one gave no sign of life.
      StoppedBySignal: ``interruption`` asked for it; the same call continues the run.

    Guarantees:
      The same config gives the same numbers, even if interrupted and resumed.
    """
    config, workdir = to_run_config(config), Path(workdir)
    check_same_config(config, workdir)
    if (workdir / records.SUMMARY).exists():
        return _read_result(workdir)
    if is_alone():
        claims.check_free(workdir)  # before the minutes that building may take
    earlier, experiment = _build(config, workdir, among.choice, progress)
    quality = QualityLog(workdir, experiment)
    wait_for_all("nobody writes before everybody has read")
    with claims.claim_folder(workdir) as claim:
        if agree(int((workdir / records.SUMMARY).exists())):  # finished meanwhile
            return _read_result(workdir)
        if not agree(int(environment.read(workdir) == earlier)):  # begun meanwhile
            check_same_config(config, workdir)
            _, experiment = _build(config, workdir, among.choice, progress)
        if is_primary():
            _begin_folder(workdir, experiment)
        wait_for_all("the run folder is there")
        around = _Around(on_start, on_record, progress, interruption, among)
        lines = _train(experiment, quality, workdir, claim, around)
        return _finish(experiment, workdir, claim, lines, among)


def _finish(
    experiment: Experiment,
    workdir: Path,
    claim: claims.FolderClaim,
    lines: list[dict],
    among: AmongMany,
) -> RunResult:
    """Writes the figure and the summary of a run whose rounds are all played."""
    summary = records.summarize(lines, experiment.workload.num_parameters)
    claim.check()
    if is_primary():
        if among.has_pictures:
            draw_figure(workdir)
        records.write_json(workdir / records.SUMMARY, summary)
    return RunResult(workdir, lines, summary, is_new=True)


def _build(
    config: RunConfig, workdir: Path, choice: ProgramChoice, progress: Progress
) -> tuple[dict[str, Any], Experiment]:
    """Returns the environment of the run's earlier part, if any, and the experiment."""
    earlier = environment.read(workdir)
    if begun := environment.read_compute(earlier):
        choice = choice._replace(compute=begun)
    experiment = build(config, choice, progress)
    environment.check_data(workdir, earlier, experiment.dataset)
    return earlier, experiment


def _read_result(workdir: Path) -> RunResult:
    """Returns the result of a run that was finished earlier."""
    summary = records.read_summary(workdir)
    return RunResult(workdir, records.read_metrics(workdir), summary, is_new=False)


def _train(
    experiment: Experiment,
    quality: QualityLog,
    workdir: Path,
    claim: claims.FolderClaim,
    around: _Around,
) -> list[dict]:
    """Runs the remaining rounds, and returns the records of all rounds."""
    config, among, progress = experiment.config, around.among, around.progress
    with Checkpoints(workdir / "checkpoints", config.checkpoint.keep) as checkpoints:
        first = checkpoints.latest_round or 0
        if around.on_start is not None:
            around.on_start(experiment, first)
        is_writer = is_primary()
        with records.MetricsLog(workdir, first, claim.check, is_writer=is_writer) as log:
            play = functools.partial(play_round, log=log, on_record=around.on_record)
            state, prepared, saved = None, None, time.monotonic()
            for round in range(first, config.num_rounds):
                if exit_code := find_largest(around.interruption.exit_code):
                    _save(state, checkpoints, claim)
                    raise StoppedBySignal(f"{workdir}: {round} rounds are saved", exit_code)
                if state is None:
                    experiment, state, prepared = play_first_round(
                        experiment, checkpoints, play, workdir, progress
                    )
                else:
                    state, prepared = play(experiment, state, prepared)
                is_last = round + 1 == config.num_rounds
                is_drawn = (round + 1) % config.sampling.every_rounds == 0 and among.has_pictures
                if is_last or is_drawn:
                    _draw(experiment, state, workdir, progress)
                if quality.is_due(round + 1, is_last=is_last):
                    quality.measure(experiment, state, claim, progress)
                is_due = (round + 1) % config.checkpoint.every_rounds == 0
                if among.save_seconds is not None:
                    is_due = time.monotonic() - saved >= among.save_seconds
                if is_last or is_due:
                    _save(state, checkpoints, claim)
                    saved = time.monotonic()
    return log.records


def _save(
    state: SimulationState | None, checkpoints: Checkpoints, claim: claims.FolderClaim
) -> None:
    """Saves a state, if there is one and the run is still this process's."""
    if state is not None:
        claim.check()
        checkpoints.save(state)


def _begin_folder(workdir: Path, experiment: Experiment) -> None:
    workdir.mkdir(parents=True, exist_ok=True)
    records.write_json(workdir / records.CONFIG, experiment.config.to_dict())
    if not environment.read(workdir):
        described = environment.describe(experiment.dataset, experiment.compute)
        records.write_json(workdir / records.ENVIRONMENT, described)


def read_config(workdir: Path) -> RunConfig:
    """Returns the config of a run folder.

    Raises:
      ValueError: the folder holds no run, or its config is no longer valid.
    """
    return to_run_config(_read_settings(workdir))


def _read_settings(workdir: Path) -> dict[str, Any]:
    path = workdir / records.CONFIG
    if not path.exists():
        raise ValueError(f"{workdir} is not a run folder: it has no {records.CONFIG}")
    return fill_missing(json.loads(path.read_text()))


def load_run(workdir: str | Path, sampling: dict | None = None) -> tuple[Experiment, Any]:
    """Returns the experiment of a run folder and its newest saved state.

    Args:
      workdir: a run folder.
      sampling: changed settings of ``SamplingConfig``.

    Returns:
      ``(Experiment, SimulationState)``.

    Raises:
      ValueError: the folder holds no run, or no checkpoint yet.
    """
    workdir = Path(workdir)
    changed = {f"sampling.{name}": value for name, value in (sampling or {}).items()}
    config = with_overrides(read_config(workdir), changed)
    earlier = environment.read(workdir)
    experiment = build(config, ProgramChoice(environment.read_compute(earlier)))
    environment.check_data(workdir, earlier, experiment.dataset)
    like = experiment.simulator.init(experiment.run_key, experiment.data)
    with Checkpoints(workdir / "checkpoints", config.checkpoint.keep) as checkpoints:
        state = checkpoints.restore_latest(like)
    if state is None:
        raise ValueError(f"{workdir} has no checkpoint yet; continue the run until it has one")
    return experiment, state


def _draw(
    experiment: Experiment, state: SimulationState, workdir: Path, progress: Progress
) -> None:
    if not is_primary():
        return
    counter = int(state.round)
    with progress.watch("drawing images"):
        images = experiment.draw_samples(experiment.run_key, state.ema_params, counter)
    save_grid(records.sample_path(workdir, counter), images)


def check_same_config(config: RunConfig, workdir: Path) -> None:
    """Raises ValueError if a folder is not empty and holds no run of this config."""
    path = workdir / records.CONFIG
    if not path.exists():
        if workdir.exists() and any(p.name != claims.FOLDER for p in workdir.iterdir()):
            raise ValueError(f"{workdir} is not empty and no run folder; choose another --workdir")
        return
    earlier, new = flatten(_read_settings(workdir)), config.flatten()
    for key in {**earlier, **new}:
        if earlier.get(key) != new.get(key):
            raise ValueError(
                f"{workdir} holds a run of another config ({key}: {earlier.get(key)!r} there, "
                f"{new.get(key)!r} here); choose another --workdir"
            )
