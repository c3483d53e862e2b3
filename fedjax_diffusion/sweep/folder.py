"""Folder of a sweep: sweep.json lists its points, and each has an ordinary run folder in points.

Paths are relative: a sweep that was moved goes on. ``sweep.json`` is written by the command that
has the definition, never by a worker, and a point that is in it stays in it.
"""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from fedjax_diffusion.experiment.config import GivenConfig, fill_missing, to_run_config
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.host.version import __version__
from fedjax_diffusion.runs import claims, records
from fedjax_diffusion.runs.runner import read_config
from fedjax_diffusion.sweep.identity import (
    HASH_DIGITS,
    hash_config,
    is_in_identity,
    read_settings,
)
from fedjax_diffusion.sweep.listing import SCHEMA, SWEEP, list_folders, read_listing
from fedjax_diffusion.sweep.points import Point, expand

_GROWING = "sweep"
"""Name of the claim of the process that writes sweep.json."""
_GROWING_SECONDS = 10.0


class Sweep(NamedTuple):
    """An opened sweep.

    Attributes:
      workdir: its folder.
      base: the settings that are not swept.
      points: all points, in the order in which they were added.
      created: time, ISO 8601.
    """

    workdir: Path
    base: RunConfig
    points: list[Point]
    created: str


def open_sweep(workdir: str | Path) -> Sweep:
    """Returns the sweep of a folder.

    Raises:
      ValueError: the folder holds no sweep, one of a newer version, or a damaged one.
    """
    listing = read_listing(workdir)
    base = to_run_config(fill_missing(listing.base))
    overrides = [dict(point.overrides) for point in listing.points]
    points = expand(base, lambda _: overrides, is_large_ok=True)
    for point, listed in zip(points, listing.points, strict=True):
        if point.hash != listed.hash:
            raise ValueError(
                f"{listing.workdir / SWEEP}: the settings of point {listed.label} have the hash "
                f"{point.hash[:HASH_DIGITS]}, there {listed.hash[:HASH_DIGITS]}; restore it"
            )
    return Sweep(listing.workdir, base, points, listing.created)


def merge_sweep(config: GivenConfig, points: Sequence[Point], workdir: str | Path) -> Sweep:
    """Returns the sweep that a folder will hold with these points added; writes nothing.

    Args:
      config: the settings that are not swept.
      points: from ``expand`` of this config.
      workdir: the sweep's folder, or one that is new or empty.

    Raises:
      ValueError: the folder holds something else, or a sweep of other settings.
    """
    base, workdir = to_run_config(config), Path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"{workdir} is a file; choose another --workdir")
    if not (workdir / SWEEP).exists():
        if any((workdir / name).exists() for name in (records.CONFIG, records.METRICS)):
            raise ValueError(f"{workdir} is the folder of a run; choose another --workdir")
        if workdir.exists() and any(p.name != claims.FOLDER for p in workdir.iterdir()):
            raise ValueError(f"{workdir} is not empty and no sweep; choose another --workdir")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Sweep(workdir, base, list(points), now)
    there = open_sweep(workdir)
    _check_same_base(there, base, points)
    known = {point.hash for point in there.points}
    added = [point for point in points if point.hash not in known]
    return there._replace(base=_take_free_settings(there.base, base), points=there.points + added)


def grow_sweep(config: GivenConfig, points: Sequence[Point], workdir: str | Path) -> Sweep:
    """Adds points to the sweep of a folder, which is made if needed, and returns the sweep.

    Raises:
      ValueError: as ``merge_sweep``, or the folder cannot be written to.
    """
    workdir = Path(workdir)
    sweep = merge_sweep(config, points, workdir)
    if (workdir / SWEEP).exists() and open_sweep(workdir) == sweep:
        return sweep
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with _claim_growing(workdir):
            sweep = merge_sweep(config, points, workdir)  # another process may have added some
            records.write_json(workdir / SWEEP, _to_json(sweep))
    except OSError as error:
        raise ValueError(f"{workdir}: cannot be written: {error.strerror}") from None
    return sweep


def check_folders(workdir: Path) -> None:
    """Raises ValueError if a point's folder holds a run of other settings than its name says."""
    for digits, folder in list_folders(workdir).items():
        if not (folder / records.CONFIG).exists():
            continue
        there = _hash_folder(folder)
        if there[:HASH_DIGITS] != digits:
            raise ValueError(
                f"{folder} holds a run of other settings: its {records.CONFIG} has the hash "
                f"{there[:HASH_DIGITS]}; restore the folder's name, or remove it"
            )


def _hash_folder(folder: Path) -> str:
    try:  # the settings of this version are read ten times faster
        return hash_config(RunConfig.from_dict(json.loads((folder / records.CONFIG).read_text())))
    except (TypeError, KeyError, ValueError, StopIteration):
        pass
    try:
        return hash_config(read_config(folder))
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{folder / records.CONFIG} cannot be read: {error}") from None


def _check_same_base(there: Sweep, base: RunConfig, points: Sequence[Point]) -> None:
    """Raises ValueError if settings differ that change numbers and that a point does not set."""
    everywhere = set.intersection(*(set(p.overrides) for p in [*there.points, *points]))
    earlier, new = dict(read_settings(there.base)), dict(read_settings(base))
    for key in {**earlier, **new}:
        if not is_in_identity(key) or key in everywhere or earlier.get(key) == new.get(key):
            continue
        raise ValueError(
            f"{there.workdir} holds another sweep ({key}: {earlier.get(key)!r} there, "
            f"{new.get(key)!r} here); choose another --workdir, or sweep {key}"
        )


def _take_free_settings(earlier: RunConfig, new: RunConfig) -> RunConfig:
    """Returns the earlier settings with those of the new ones that change no number."""
    merged = earlier.flatten() | {k: v for k, v in new.flatten().items() if not is_in_identity(k)}
    nested: dict[str, Any] = {}
    for key, value in merged.items():
        *groups, name = key.split(".")
        below = nested
        for group in groups:
            below = below.setdefault(group, {})
        below[name] = value
    return RunConfig.from_dict(nested)


def _claim_growing(workdir: Path) -> claims.Claim:
    """Returns the claim on sweep.json; waits for another process, which needs a moment."""
    end = time.monotonic() + _GROWING_SECONDS
    while True:
        try:
            return claims.take(workdir / claims.FOLDER, _GROWING, what=str(workdir / SWEEP))
        except claims.ClaimedError:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def _to_json(sweep: Sweep) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "fedjax_diffusion": __version__,
        "created": sweep.created,
        "base": sweep.base.to_dict(),
        "points": [
            {"hash": p.hash, "label": p.label, "overrides": dict(p.overrides)} for p in sweep.points
        ],
    }
