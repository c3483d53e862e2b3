"""Play of a sweep: its open points, each in its own run folder."""

import gc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from fedjax_diffusion.experiment.config import GivenConfig, to_run_config
from fedjax_diffusion.experiment.sweep_config import MOST_LANES
from fedjax_diffusion.host.interruption import NEVER, Interruption
from fedjax_diffusion.host.progress import SILENT, Progress
from fedjax_diffusion.sweep.checks import check_points, choose_evaluation
from fedjax_diffusion.sweep.folder import (
    Sweep,
    check_folders,
    grow_sweep,
    merge_sweep,
    open_sweep,
)
from fedjax_diffusion.sweep.index import write_index
from fedjax_diffusion.sweep.lanes import LanesError
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.packing import Group, split_points
from fedjax_diffusion.sweep.play import (
    PlayOptions,
    PlayPoint,
    is_chosen,
    is_open,
    play_point,
    reopen_failed,
)
from fedjax_diffusion.sweep.playing import OnPoint, Playing
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.programs import GroupChoices
from fedjax_diffusion.sweep.reference import find_reference
from fedjax_diffusion.sweep.states import PointState, read_states


class SweepResult(NamedTuple):
    """A sweep after this process has played its part.

    Attributes:
      workdir: its folder.
      points: all points of the sweep.
      states: one per point.
      num_played: number of points that this call finished or saw failing.
    """

    workdir: Path
    points: list[Point]
    states: list[PointState]
    num_played: int

    @property
    def failures(self) -> list[tuple[Point, PointState]]:
        """The failed points."""
        pairs = zip(self.points, self.states, strict=True)
        return [(point, state) for point, state in pairs if state.status == "failed"]


Track: TypeAlias = Callable[[Sequence[Point]], Iterable[Point]]
"""Wrapper of the iteration over points, as ``tqdm``."""


def run_sweep(
    config: GivenConfig,
    points: Sequence[Point],
    workdir: str | Path,
    options: PlayOptions = PlayOptions(),  # noqa: B008  # it is immutable
    *,
    num_evaluated: int | None = None,
    reference: str | None = None,
    play: PlayPoint = play_point,
    track: Track = iter,
    on_point: OnPoint | None = None,
    progress: Progress = SILENT,
    interruption: Interruption = NEVER,
) -> SweepResult:
    """Plays many runs in one folder, each point once; a call of the same sweep continues it.

    Args:
      config: from ``load_config``: the settings that are not swept.
      points: from ``expand`` of this config. Points of the folder that are not among them stay, and
        are played too.
      workdir: the folder of the sweep, created if needed.
      options: choice of the points that are played.
      num_evaluated: images drawn from each finished point; None: 2,000, or the config's number if
        it is not the default.
      reference: label of a point, see ``Point.matches``; the index holds every point's savings
        against it, or against the point that differs from it in the seed alone. None:
        ``sweep.reference`` of the config, or else the one that was named before, if any.
      play: plays one point.
      track: wraps the points, to show progress.
      on_point: called after each point, with its state.
      progress: shows trials and compilation within a point.
      interruption: asked between points, after each round, and while images are drawn.

    Raises:
      ValueError: a setting of any point is invalid, or the folder holds something else. Nothing is
        written then.
      StoppedBySignal: ``interruption`` asked for it; the same call continues.

    Guarantees:
      A finished point is not played again, and a failure stops no other point.
    """
    prepare_sweep(config, points, workdir, options, num_evaluated, reference)
    return play_sweep(
        workdir,
        options,
        play=play,
        track=track,
        on_point=on_point,
        progress=progress,
        interruption=interruption,
    )


def prepare_sweep(
    config: GivenConfig,
    points: Sequence[Point],
    workdir: str | Path,
    options: PlayOptions = PlayOptions(),  # noqa: B008
    num_evaluated: int | None = None,
    reference: str | None = None,
    *,
    is_dry: bool = False,
) -> Sweep:
    """Checks every point, writes them into the sweep's folder, and returns the sweep.

    Args:
      config: as in ``run_sweep``, like the following ones.
      points: as there.
      workdir: as there.
      options: as there.
      num_evaluated: as there.
      reference: as there.
      is_dry: write nothing.
    """
    config = choose_evaluation(to_run_config(config), num_evaluated)
    reference = reference or config.sweep.reference
    check_folders(Path(workdir))
    sweep = merge_sweep(config, points, workdir)
    states = read_states(sweep)
    unfinished = [p for p, s in zip(sweep.points, states, strict=True) if not s.is_done]
    family = reference and find_reference(sweep.points, reference)
    check_points(config, unfinished, is_evaluating=options.is_evaluating)
    if is_dry:
        return sweep
    return grow_sweep(config, points, workdir, family)


def play_sweep(
    workdir: str | Path,
    options: PlayOptions = PlayOptions(),  # noqa: B008
    *,
    play: PlayPoint = play_point,
    track: Track = iter,
    on_point: OnPoint | None = None,
    progress: Progress = SILENT,
    interruption: Interruption = NEVER,
) -> SweepResult:
    """Plays the open points of an existing sweep, beside any other processes that do so.

    Points that others play are left to them. Those whose process died are taken over.

    Args:
      workdir: the folder of the sweep.
      options: as in ``run_sweep``, like the following ones.
      play: as there.
      track: as there.
      on_point: as there.
      progress: as there.
      interruption: as there.
    """
    sweep = open_sweep(workdir)
    check_folders(sweep.workdir)
    options = reopen_failed(sweep, options)
    playing = Playing(sweep, options, play, on_point, progress, interruption)
    most_lanes = MOST_LANES
    try:
        is_pass_useful = True
        while is_pass_useful and not playing.is_over():
            is_pass_useful = is_pack_lost = False  # a process may die while this one plays others
            points = _list_open(sweep, options, playing.tried)
            before = len(playing.tried)
            try:
                choices = GroupChoices(sweep, interruption)
                for group in _group(sweep, points, options, most_lanes, before, choices, progress):
                    playing.play_group(group, iter(track(group.points)))
            except LanesError as error:
                most_lanes, is_pass_useful, is_pack_lost = error.num_lanes, True, True
                progress.tell(str(error))
            if is_pack_lost:
                gc.collect()  # before a smaller one needs its memory
            is_pass_useful |= len(playing.tried) > before
    finally:
        write_index(sweep, is_new=bool(playing.tried))
    return SweepResult(sweep.workdir, sweep.points, read_states(sweep), len(playing.tried))


def _group(
    sweep: Sweep,
    points: list[Point],
    options: PlayOptions,
    most_lanes: int,
    num_played: int,
    choices: GroupChoices,
    progress: Progress,
) -> list[Group]:
    """Returns the open points in groups, with lanes for this process's share of them."""
    share = -(-len(points) // options.num_workers)
    if options.limit is not None:
        share = min(share, options.limit - num_played)
    lanes = sweep.base.sweep.lanes
    return split_points(points, lanes, min(most_lanes, share), choices, progress)


def _list_open(sweep: Sweep, options: PlayOptions, tried: dict[str, PointState]) -> list[Point]:
    rows = zip(sweep.points, find_folders(sweep), read_states(sweep), strict=True)
    return [
        point
        for point, folder, state in rows
        if point.hash not in tried
        and is_chosen(point, options)
        and is_open(sweep, folder, state, options)
    ]
