"""A comparison: a sweep of variants by seeds; its verdict stands beside the sweep's index."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fedjax_diffusion.compare.figure import draw_comparison
from fedjax_diffusion.compare.old_layout import adopt_runs
from fedjax_diffusion.compare.rows import (
    RunRow,
    VariantRow,
    check_same_features,
    make_row,
    summarize_variants,
    to_json,
)
from fedjax_diffusion.compare.runs_csv import match_earlier, write_runs
from fedjax_diffusion.compare.variants import Play, list_plays
from fedjax_diffusion.experiment.config import GivenConfig, to_run_config
from fedjax_diffusion.host.interruption import NEVER, Interruption
from fedjax_diffusion.host.progress import SILENT, Progress
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.runs.records import SUMMARY, write_json
from fedjax_diffusion.sweep.checks import check_point
from fedjax_diffusion.sweep.folder import (
    Sweep,
    check_folders,
    find_folders,
    grow_sweep,
    merge_sweep,
)
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.index import read_sweep
from fedjax_diffusion.sweep.play import PlayOptions, is_chosen, is_open
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.reference import hash_family
from fedjax_diffusion.sweep.runner import OnPoint, Track, play_sweep
from fedjax_diffusion.sweep.states import PointState, read_states

TABLE = "runs.csv"
FIGURE = "figures/quality.png"
MIN_SEEDS = 2
"""Finished seeds from which on there are intervals."""


class Comparison(NamedTuple):
    """A comparison as far as it has come.

    Attributes:
      workdir: its folder.
      runs: one row per run of the seeds that all variants have finished.
      variants: one row per variant, the reference first; empty below ``MIN_SEEDS`` such seeds.
      missing: labels of the runs that are not finished: failed, not chosen, or left to others.
    """

    workdir: Path
    runs: list[RunRow]
    variants: list[VariantRow]
    missing: list[str]


class OpenComparison(NamedTuple):
    """A comparison whose settings are checked.

    Attributes:
      sweep: that of its folder, with its own runs alone.
      plays: its runs.
      known: rows of runs that were played elsewhere, by hash.
      options: the choice of exactly those of its runs that are to be played.
    """

    sweep: Sweep
    plays: list[Play]
    known: dict[str, RunRow]
    options: PlayOptions


def run_comparison(
    config: GivenConfig,
    workdir: str | Path,
    options: PlayOptions = PlayOptions(),  # noqa: B008  # it is immutable
    *,
    earlier: Sequence[RunRow] = (),
    track: Track = iter,
    on_point: OnPoint | None = None,
    progress: Progress = SILENT,
    interruption: Interruption = NEVER,
) -> Comparison:
    """Trains and evaluates every variant with every seed, and compares runs of the same seed.

    It is a sweep of variants by seeds: finished runs are not repeated and an interrupted run is
    continued, also if seeds or variants were added; a failure stops no other run; processes share
    the work. Writes ``runs.csv``, ``summary.json`` and a figure, updated after every seed.

    Args:
      config: from ``load_config``, or a ``RunConfig``; its group ``compare`` lists the variants.
      workdir: the folder of the comparison, created if needed.
      options: choice of the runs that are played, as in ``run_sweep``.
      earlier: runs of other folders or machines, from ``read_runs``; those of the requested seeds
        are used without running them again.
      track: as in ``run_sweep``, like the following ones.
      on_point: as there.
      progress: as there.
      interruption: as there.

    Raises:
      ValueError: a setting is invalid, the folder holds something else, an earlier run has other
        settings, or runs of a seed were measured by different features.
      StoppedBySignal: ``interruption`` asked for it; the same call continues.
    """
    comparison = open_comparison(config, workdir, options, earlier)

    def update(point: Point, state: PointState) -> None:
        if on_point is not None:
            on_point(point, state)
        conclude(comparison)

    play_sweep(
        comparison.sweep.workdir,
        comparison.options,
        track=track,
        on_point=update,
        progress=progress,
        interruption=interruption,
    )
    return conclude(comparison)


def open_comparison(
    config: GivenConfig,
    workdir: str | Path,
    options: PlayOptions,
    earlier: Sequence[RunRow],
    *,
    is_dry: bool = False,
) -> OpenComparison:
    """Checks a comparison as ``run_comparison`` does, and writes its runs into the folder's sweep.

    Args:
      config: as there, like the following ones.
      workdir: as there.
      options: as there.
      earlier: as there.
      is_dry: write nothing.
    """
    base, workdir = to_run_config(config), Path(workdir)
    plays = list_plays(base)
    known = match_earlier(plays, earlier)
    adopt_runs(workdir, plays, is_dry=is_dry)
    check_folders(workdir)
    points = [play.point for play in plays]
    name = base.compare.reference or plays[0].variant
    reference = next(hash_family(play.point) for play in plays if play.variant == name)
    sweep = merge_sweep(base, points, workdir, reference)
    done = _list_done(sweep)
    _check_plays([play for play in plays if play.point.hash not in {*known, *done}])
    if not is_dry:
        sweep = grow_sweep(base, points, workdir, reference)
    sweep = sweep._replace(points=points)
    chosen = [p.hash[:HASH_DIGITS] for p in points if p.hash not in known and is_chosen(p, options)]
    return OpenComparison(sweep, plays, known, options._replace(only=",".join(chosen)))


def conclude(comparison: OpenComparison) -> Comparison:
    """Returns a comparison as its folder is now, and writes its results if they are new.

    Raises:
      ValueError: runs of a seed were measured by different features.
    """
    sweep, known = comparison.sweep, comparison.known
    settings = sweep.base.compare
    done = _list_done(sweep)
    indexed = {row["hash"]: row for row in read_sweep(sweep.workdir).to_pylist()}
    rows = [
        known.get(play.point.hash) or make_row(play, indexed[play.point.hash[:HASH_DIGITS]])
        for play in comparison.plays
        if play.point.hash in {*known, *done}
    ]
    check_same_features(rows)
    missing = [p.point.label for p in comparison.plays if p.point.hash not in {*known, *done}]
    seeds = [row.seed for row in rows]
    runs = [row for row in rows if seeds.count(row.seed) == len(settings.variants)]
    if len(runs) < MIN_SEEDS * len(settings.variants):
        return Comparison(sweep.workdir, runs, [], missing)
    variants = summarize_variants(runs, settings.reference)
    _write(sweep.workdir, runs, variants, settings.tolerance_percent)
    return Comparison(sweep.workdir, runs, variants, missing)


def _list_done(sweep: Sweep) -> set[str]:
    """Returns the hashes of the points that are finished, and measured as the sweep says."""
    rows = zip(sweep.points, find_folders(sweep), read_states(sweep), strict=True)
    options = PlayOptions()
    return {p.hash for p, folder, s in rows if s.is_done and not is_open(sweep, folder, s, options)}


def _check_plays(plays: Sequence[Play]) -> None:
    """Raises the errors that would stop a run later, of the first run of each variant."""
    firsts: dict[str, Play] = {}
    for play in plays:
        firsts.setdefault(play.variant, play)
    for play in firsts.values():
        config = play.point.config
        missing = [name for name in REFERENCE_BASELINES if name not in config.allocator.baselines]
        if missing:
            raise ValueError(
                f"allocator.baselines must hold {' and '.join(REFERENCE_BASELINES)}, to which "
                f"savings refer; {play.variant} has no {missing[0]}"
            )
        check_point(config, play.point, is_evaluating=True)


def _write(
    workdir: Path, runs: Sequence[RunRow], variants: Sequence[VariantRow], tolerance_percent: float
) -> None:
    summary = {
        "reference": variants[0].variant,
        "tolerance_percent": tolerance_percent,
        "distance": runs[0].distance_name,
        "variants": [to_json(row) for row in variants],
    }
    paths = [workdir / name for name in (SUMMARY, TABLE, FIGURE)]
    if all(path.exists() for path in paths) and json.loads(paths[0].read_text()) == summary:
        return
    write_runs(paths[1], runs)
    paths[2].parent.mkdir(parents=True, exist_ok=True)
    draw_comparison(variants, runs, tolerance_percent).savefig(paths[2], dpi=120)
    write_json(paths[0], summary)
