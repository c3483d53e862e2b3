"""Host loop of a run: plan, step, record, save and draw, with automatic resumption."""

import functools
import itertools
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from fedjax_diffusion.experiment.build import build
from fedjax_diffusion.experiment.checkpoints import Checkpoints
from fedjax_diffusion.experiment.config import GivenConfig, to_run_config
from fedjax_diffusion.experiment.experiment import Change, Experiment
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.host.file_errors import explain_file_errors
from fedjax_diffusion.host.interruption import NEVER, Interruption, StoppedBySignal
from fedjax_diffusion.host.outputs import check_place
from fedjax_diffusion.host.processes import agree, find_largest, is_alone, is_primary, wait_for_all
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.runs import claims, environment, folder, records
from fedjax_diffusion.runs.among_many import ALONE, AmongMany
from fedjax_diffusion.runs.evaluate import check_own_files
from fedjax_diffusion.runs.figure import FIGURE
from fedjax_diffusion.runs.folder import check_same_config
from fedjax_diffusion.runs.hook import check_change
from fedjax_diffusion.runs.learning import Learning, is_early_end
from fedjax_diffusion.runs.metrics_csv import write_metrics_csv
from fedjax_diffusion.runs.metrics_log import MetricsLog, count_lines
from fedjax_diffusion.runs.pictures import draw_grid, draw_rounds
from fedjax_diffusion.runs.progress_bar import show_rounds
from fedjax_diffusion.runs.quality_log import QualityLog
from fedjax_diffusion.runs.resumption import find_start, open_checkpoints
from fedjax_diffusion.runs.rounds import OnRecord, call_all, play_first_round, play_round
from fedjax_diffusion.runs.tensorboard import check_tensorboard, write_events
from fedjax_diffusion.simulator import SimulationState

OnStart = Callable[[Experiment, int], Any]
"""Callback at the start of a run, with the experiment and the number of the first round."""


class RunResult(NamedTuple):
    """A finished run.

    Attributes:
      workdir: the run folder.
      summary: the content of summary.json.
      is_new: False if the run was finished before this call, which then changed nothing.
    """

    workdir: Path
    summary: dict
    is_new: bool

    @property
    def records(self) -> list[dict]:
        """One dict per round, read from metrics.jsonl at each call."""
        return records.read_metrics(self.workdir)


class _Around(NamedTuple):
    """Arguments of ``run`` that concern the loop over rounds."""

    change: Change | None
    on_start: OnStart | None
    on_record: OnRecord | None
    progress: Progress
    interruption: Interruption
    among: AmongMany

    def check_begin(self, workdir: Path) -> None:
        """Raises StoppedBySignal in all processes if one of them is to stop before any round."""
        if exit_code := find_largest(self.interruption.exit_code):
            raise StoppedBySignal(f"{workdir}: no round is played yet", exit_code)


def run(
    config: GivenConfig,
    workdir: str | Path,
    *,
    change: Change | None = None,
    on_start: OnStart | None = None,
    on_record: OnRecord | None = None,
    progress: Progress | None = None,
    interruption: Interruption = NEVER,
    restart: bool = False,
    among: AmongMany = ALONE,
) -> RunResult:
    """Trains to the last round and writes a run folder; continues an interrupted run.

    Args:
      config: from ``load_config``, or a ``RunConfig``.
      workdir: the run folder, created if needed. It may hold an earlier part of the same run, also
        one with other settings that change no number, or with fewer rounds if no schedule depends
        on their number (docs/run_folder.md).
      change: returns the experiment with other parts, such as ``experiment._replace(plan=mine)``,
        and is recorded in environment.json. A run that began with one goes on with one only.
      on_start: called before the first round, with the experiment and the round's number.
      on_record: called after each round, with its record.
      progress: shows trials and compilation; None: a bar in a notebook, nothing elsewhere.
      interruption: asked after each round; a run that is to stop saves its state first.
      restart: begin again at the first round. What the run has written, also if it is finished, is
        moved into ``workdir/before_restart_1`` or a higher number.
      among: what is shared with other runs, or left out, if there are many.

    Returns:
      The result; for a finished run, the earlier one. ``check_learned`` of its summary tells
      whether the run has learned anything.

    Raises:
      ValueError: the config is invalid, the folder holds a run of another config or cannot be
        written to, another process works in it, rounds were played but no checkpoint can be used,
        or a line of metrics.jsonl was changed. Nothing is written then.
      DeviceMemoryError: a round does not fit into a device's memory with any settings that the
        config allows.
      LostClaimError: another process took the folder over, as this one gave no sign of life.
      StoppedBySignal: ``interruption`` asked for it; the same call continues the run.

    Guarantees:
      The same config gives the same numbers, even if interrupted and resumed.
    """
    config, workdir = to_run_config(config), Path(workdir)
    with explain_file_errors(workdir):
        check_same_config(config, workdir)
        check_change(workdir, {} if restart else environment.read(workdir), change)
        if not restart and folder.is_finished(workdir, config):
            return _read_result(workdir, among)
        check_place(workdir)
        _check_needs(config)
        if is_alone():
            claims.check_free(workdir)  # before the minutes that building may take
        with show_rounds(progress, config.num_rounds) as (shown, count):
            counted = call_all(count, on_record)
            around = _Around(change, on_start, counted, shown, interruption, among)
            return _play(config, workdir, around, restart)


def _check_needs(config: RunConfig) -> None:
    """Raises ValueError if a package or a file that a config asks for is missing."""
    if config.tensorboard:
        check_tensorboard()
    check_own_files(config)


def _play(config: RunConfig, workdir: Path, around: _Around, restart: bool) -> RunResult:
    """Builds and plays a run under the claim of its folder."""
    earlier, experiment = _build(config, workdir, around, restart)
    quality = QualityLog(workdir, experiment)
    wait_for_all("nobody writes before everybody has read")
    with claims.claim_folder(workdir) as claim:
        if restart and is_primary():
            folder.set_run_aside(workdir)
        if agree(int(folder.is_finished(workdir, config))):  # finished meanwhile
            return _read_result(workdir, around.among)
        if not agree(int(environment.read(workdir) == earlier)):  # begun meanwhile
            check_same_config(config, workdir)
            check_change(workdir, environment.read(workdir), around.change)
            _, experiment = _build(config, workdir, around)
        if is_primary():
            folder.begin(workdir, experiment)
        wait_for_all("the run folder is there")
        _train(experiment, quality, workdir, claim, around)
        return _finish(experiment, workdir, claim, around.among)


def _build(
    config: RunConfig, workdir: Path, around: _Around, restart: bool = False
) -> tuple[dict[str, Any], Experiment]:
    """Returns the environment of the run's earlier part, if any, and the experiment."""
    earlier, choice = {} if restart else environment.read(workdir), around.among.choice
    environment.check_plugins(workdir, earlier)
    if begun := environment.read_compute(earlier, config.compute):
        choice = choice._replace(compute=begun)
    experiment = build(config, choice, around.progress, lambda: around.check_begin(workdir))
    if around.change is not None:
        experiment = experiment.apply(around.change)
    environment.check_data(workdir, earlier, experiment.dataset)
    if not earlier:
        experiment.check_start()
    return earlier, around.among.join(experiment)


def _read_result(workdir: Path, among: AmongMany) -> RunResult:
    """Returns the result of a run that was finished earlier; a lost figure is drawn again."""
    summary = records.read_summary(workdir)
    if (num_lines := count_lines(workdir)) != summary["num_rounds"]:
        raise ValueError(
            f"{workdir / records.METRICS} has {num_lines} lines, but the run is finished after "
            f"{summary['num_rounds']} rounds; restore it from a copy, or play the run again with "
            "--restart"
        )
    if among.has_pictures and not (workdir / FIGURE).exists():
        draw_rounds(workdir)
    return RunResult(workdir, summary, is_new=False)


def _finish(
    experiment: Experiment, workdir: Path, claim: claims.FolderClaim, among: AmongMany
) -> RunResult:
    """Writes the figure and the summary of a run whose rounds are all played."""
    lines = records.iterate_metrics(workdir)
    summary = records.summarize(lines, experiment.workload.num_parameters)
    claim.check()
    if is_primary():
        if among.has_pictures:
            draw_rounds(workdir)
            write_metrics_csv(workdir)
        records.write_json(workdir / records.SUMMARY, summary)
    return RunResult(workdir, summary, is_new=True)


def _train(
    experiment: Experiment,
    quality: QualityLog,
    workdir: Path,
    claim: claims.FolderClaim,
    around: _Around,
) -> None:
    """Runs the remaining rounds, or up to an early end; verifies last checkpoint and record."""
    config, among, progress = experiment.config, around.among, around.progress
    checkpoints = open_checkpoints(workdir, config, experiment.dataset)
    by_rounds = among.save_seconds is None
    every_rounds = config.checkpoint.every_rounds if by_rounds else config.num_rounds
    first = find_start(workdir, checkpoints, every_rounds)
    if around.on_start is not None:
        around.on_start(experiment, first)
    watched = nullcontext(around.on_record)
    if config.tensorboard:
        watched = write_events(workdir, first, around.on_record)
    log = MetricsLog(workdir, first, claim.check, is_writer=is_primary(), is_synced=by_rounds)
    with log, watched as on_record:
        learning, stop_after = Learning(), config.stop_after_diverged_rounds
        if stop_after is not None:
            for record in itertools.islice(records.iterate_metrics(workdir), first):
                learning.add(record)
        play = functools.partial(play_round, log=log, on_record=call_all(learning.add, on_record))
        state, prepared, saved = None, None, time.monotonic()
        look = functools.partial(_look, quality, workdir, claim, progress)
        num_played, is_over = first, is_early_end(learning.summarize(), stop_after)
        if is_over and not records.sample_path(workdir, first).exists():
            state = checkpoints.restore(first, experiment.describe_state())
            look(experiment, state, first, is_drawn=True, is_last=True)
        for round in range(first, first if is_over else config.num_rounds):
            if exit_code := find_largest(around.interruption.exit_code):
                _save(state, checkpoints, claim, log)
                raise StoppedBySignal(f"{workdir}: {round} rounds are saved", exit_code)
            if state is None:
                experiment, state, prepared = play_first_round(
                    experiment, checkpoints, first, play, workdir, progress
                )
            else:
                state, prepared = play(experiment, state, prepared)
            num_played, is_over = round + 1, is_early_end(learning.summarize(), stop_after)
            is_last = is_over or num_played == config.num_rounds
            is_drawn = (round + 1) % config.sampling.every_rounds == 0 and among.has_pictures
            look(experiment, state, num_played, is_drawn=is_last or is_drawn, is_last=is_last)
            is_due = (round + 1) % every_rounds == 0
            if among.save_seconds is not None:
                is_due = time.monotonic() - saved >= among.save_seconds
            if is_last or is_due:
                _save(state, checkpoints, claim, log)
                saved = time.monotonic()
            if is_last:
                break
        if is_primary():
            checkpoints.verify(num_played)
            log.verify()


def _look(
    quality: QualityLog,
    workdir: Path,
    claim: claims.FolderClaim,
    progress: Progress,
    experiment: Experiment,
    state: SimulationState,
    num_played: int,
    *,
    is_drawn: bool,
    is_last: bool,
) -> None:
    """Draws images of a state and measures their quality, as far as these are due."""
    if is_drawn:
        draw_grid(experiment, state.whole, workdir, progress)
    if quality.is_due(num_played, is_last=is_last):
        quality.measure(experiment, state.whole, claim, progress)


def _save(
    state: SimulationState | None,
    checkpoints: Checkpoints,
    claim: claims.FolderClaim,
    log: MetricsLog,
) -> None:
    """Saves a state, if there is one and the run is still this process's."""
    if state is not None:
        claim.check()
        log.sync()
        checkpoints.save(state.whole, log.checksums)
        environment.mark_checkpoint(log.workdir)
