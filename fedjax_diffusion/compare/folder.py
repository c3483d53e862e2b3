"""Folder of a comparison: that of a sweep, whose points are its variants by its seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fedjax_diffusion.compare.old_layout import adopt_runs
from fedjax_diffusion.compare.rows import RunRow
from fedjax_diffusion.compare.runs_csv import match_earlier
from fedjax_diffusion.compare.variants import Play, list_plays
from fedjax_diffusion.experiment.config import GivenConfig, to_run_config
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.sweep.checks import check_point
from fedjax_diffusion.sweep.folder import (
    Sweep,
    check_folders,
    grow_sweep,
    merge_sweep,
)
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.play import PlayOptions, is_chosen, is_open
from fedjax_diffusion.sweep.reference import hash_family
from fedjax_diffusion.sweep.states import read_states


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
    done = list_done(sweep)
    _check_plays([play for play in plays if play.point.hash not in {*known, *done}])
    if not is_dry:
        sweep = grow_sweep(base, points, workdir, reference)
    sweep = sweep._replace(points=points)
    chosen = [p.hash[:HASH_DIGITS] for p in points if p.hash not in known and is_chosen(p, options)]
    return OpenComparison(sweep, plays, known, options._replace(only=",".join(chosen)))


def list_done(sweep: Sweep) -> set[str]:
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
