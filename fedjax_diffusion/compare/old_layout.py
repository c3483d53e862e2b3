"""Comparisons of earlier versions: their runs, ``VARIANT/seed_SEED``, become points of a sweep."""

from collections.abc import Sequence
from pathlib import Path

from fedjax_diffusion.compare.variants import Play
from fedjax_diffusion.runs import claims
from fedjax_diffusion.runs.folder import read_config
from fedjax_diffusion.runs.records import CONFIG
from fedjax_diffusion.sweep.folder import find_difference
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.listing import POINTS, list_folders


def adopt_runs(workdir: Path, plays: Sequence[Play], *, is_dry: bool = False) -> None:
    """Moves the runs of an earlier version's folder to the points that they are; none is lost.

    A second call after an interruption moves the others. Runs that are not requested stay.

    Args:
      workdir: of the comparison.
      plays: the requested runs.
      is_dry: refuse such a folder, as nothing may be moved.

    Raises:
      ValueError: a run has other settings than the play of its variant and seed, or another process
        works on it. Nothing is moved then.
    """
    moves: dict[Path, Path] = {}
    for play in plays:
        old = workdir / play.variant / f"seed_{play.seed}"
        if not (old / CONFIG).exists() or play.point.hash[:HASH_DIGITS] in list_folders(workdir):
            continue
        if difference := find_difference(read_config(old), play.point.config):
            raise ValueError(
                f"{old} holds a run of another config ({difference[1]}); choose another --workdir"
            )
        claims.check_free(old)
        moves[old] = workdir / POINTS / play.point.folder
    if not moves:
        return
    if is_dry:
        raise ValueError(
            f"{workdir} holds a comparison of an earlier version; without --dry_run its "
            f"{len(moves)} runs are moved to {workdir / POINTS} and go on"
        )
    (workdir / CONFIG).unlink(missing_ok=True)  # sweep.json has all of it
    (workdir / POINTS).mkdir(exist_ok=True)
    for old, new in moves.items():
        old.rename(new)
        if not any(old.parent.iterdir()):
            old.parent.rmdir()
