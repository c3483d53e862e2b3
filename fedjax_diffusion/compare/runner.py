"""Play of a comparison, and its verdict over the index of its sweep."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fedjax_diffusion.compare.figure import draw_comparison
from fedjax_diffusion.compare.folder import OpenComparison, list_done, open_comparison
from fedjax_diffusion.compare.rows import (
    RunRow,
    VariantRow,
    check_same_features,
    make_row,
    summarize_variants,
    to_json,
)
from fedjax_diffusion.compare.runs_csv import match_earlier, read_runs, write_runs
from fedjax_diffusion.compare.variants import list_plays
from fedjax_diffusion.experiment.config import GivenConfig
from fedjax_diffusion.host.figures import pictures_may_fail, save_figure
from fedjax_diffusion.host.interruption import NEVER, Interruption
from fedjax_diffusion.host.progress import SILENT, Progress
from fedjax_diffusion.runs.records import SUMMARY, write_json
from fedjax_diffusion.sweep.folder import open_sweep
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.index import read_sweep
from fedjax_diffusion.sweep.play import PlayOptions
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.runner import OnPoint, Track, play_sweep
from fedjax_diffusion.sweep.states import PointState

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


def read_comparison(workdir: str | Path) -> Comparison:
    """Returns a comparison as its folder is now; writes nothing.

    Runs of other folders are those that ``runs.csv`` holds.

    Raises:
      ValueError: the folder holds no comparison, runs.csv is damaged, or runs of a seed were
        measured by different features.
    """
    sweep = open_sweep(workdir)
    plays = list_plays(sweep.base)
    table = sweep.workdir / TABLE
    known = match_earlier(plays, read_runs(table) if table.exists() else [])
    sweep = sweep._replace(points=[play.point for play in plays])
    done = list_done(sweep)
    elsewhere = {hash: row for hash, row in known.items() if hash not in done}
    return _gather(OpenComparison(sweep, plays, elsewhere, PlayOptions()))


def conclude(comparison: OpenComparison) -> Comparison:
    """Returns a comparison as its folder is now, and writes its results if they are new.

    Raises:
      ValueError: runs of a seed were measured by different features.
    """
    gathered = _gather(comparison)
    if gathered.variants:
        tolerance_percent = comparison.sweep.base.compare.tolerance_percent
        _write(gathered.workdir, gathered.runs, gathered.variants, tolerance_percent)
    return gathered


def _gather(comparison: OpenComparison) -> Comparison:
    sweep, known = comparison.sweep, comparison.known
    settings = sweep.base.compare
    finished = {*known, *list_done(sweep)}
    indexed = {row["hash"]: row for row in read_sweep(sweep.workdir).to_pylist()}
    rows = [
        known.get(play.point.hash) or make_row(play, indexed[play.point.hash[:HASH_DIGITS]])
        for play in comparison.plays
        if play.point.hash in finished
    ]
    check_same_features(rows)
    missing = [p.point.label for p in comparison.plays if p.point.hash not in finished]
    seeds = [row.seed for row in rows]
    runs = [row for row in rows if seeds.count(row.seed) == len(settings.variants)]
    if len(runs) < MIN_SEEDS * len(settings.variants):
        return Comparison(sweep.workdir, runs, [], missing)
    return Comparison(sweep.workdir, runs, summarize_variants(runs, settings.reference), missing)


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
    with pictures_may_fail():
        save_figure(paths[2], draw_comparison(variants, runs, tolerance_percent))
    write_json(paths[0], summary)
