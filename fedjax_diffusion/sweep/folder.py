"""Folder of a sweep: sweep.json lists its points, and each has an ordinary run folder in points.

Paths are relative: a sweep that was moved goes on. ``sweep.json`` is written by the command that
has the definition, never by a worker, and a point that is in it stays in it.
"""

import dataclasses
import json
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from fedjax_diffusion.experiment.config import GivenConfig, fill_missing, to_run_config
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.host.plugins import check_recorded, describe_plugins
from fedjax_diffusion.host.version import __version__
from fedjax_diffusion.runs import claims, records
from fedjax_diffusion.runs.changes import format_difference
from fedjax_diffusion.runs.folder import read_config
from fedjax_diffusion.runs.plugins import read_recorded
from fedjax_diffusion.sweep.identity import (
    HASH_DIGITS,
    INIT_FROM,
    hash_config,
    identify_value,
    is_in_identity,
    read_settings,
)
from fedjax_diffusion.sweep.listing import POINTS, SCHEMA, SWEEP, list_folders, read_listing
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
      reference: family of the points that the others are held against, see ``hash_family``; None
        if none is named.
    """

    workdir: Path
    base: RunConfig
    points: list[Point]
    created: str
    reference: str | None = None


def open_sweep(workdir: str | Path) -> Sweep:
    """Returns the sweep of a folder.

    Raises:
      ValueError: the folder holds no sweep, one of a newer version, or a damaged one.
    """
    listing = read_listing(workdir)
    base = to_run_config(fill_missing(listing.base))
    overrides = [dict(point.overrides) for point in listing.points]
    points = []
    expanded = expand(base, lambda _: overrides, is_large_ok=True)
    for point, listed in zip(expanded, listing.points, strict=True):
        if point.hash != listed.hash:
            raise ValueError(
                f"{listing.workdir / SWEEP}: the settings of point {listed.label} have the hash "
                f"{point.hash[:HASH_DIGITS]}, there {listed.hash[:HASH_DIGITS]}; restore it"
            )
        points.append(dataclasses.replace(point, label=listed.label))
    return Sweep(listing.workdir, base, points, listing.created, listing.reference)


def merge_sweep(
    config: GivenConfig,
    points: Sequence[Point],
    workdir: str | Path,
    reference: str | None = None,
) -> Sweep:
    """Returns the sweep that a folder will hold with these points added; writes nothing.

    Args:
      config: the settings that are not swept.
      points: from ``expand`` of this config.
      workdir: the sweep's folder, or one that is new, is empty, or has points and no sweep.json.
      reference: as in ``Sweep``; None keeps the earlier one.

    Raises:
      ValueError: the folder holds something else, or a sweep of other settings.
    """
    base, workdir = to_run_config(config), Path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"{workdir} is a file; choose another --workdir")
    if not (workdir / SWEEP).exists():
        if any((workdir / name).exists() for name in (records.CONFIG, records.METRICS)):
            raise ValueError(f"{workdir} is the folder of a run; choose another --workdir")
        names = {path.name for path in workdir.iterdir()} if workdir.exists() else set()
        if names - {claims.FOLDER} and POINTS not in names:
            raise ValueError(f"{workdir} is not empty and no sweep; choose another --workdir")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Sweep(workdir, base, list(points), now, reference)
    there = open_sweep(workdir)
    check_recorded(workdir, read_recorded(workdir)[1])
    _check_same_base(there, base, points)
    given = {point.hash: point for point in points}  # its weights may lie elsewhere now
    known = [
        dataclasses.replace(given.pop(point.hash, point), label=point.label)
        for point in there.points
    ]
    return there._replace(
        base=_take_free_settings(there.base, base),
        points=known + list(given.values()),
        reference=reference or there.reference,
    )


def grow_sweep(
    config: GivenConfig,
    points: Sequence[Point],
    workdir: str | Path,
    reference: str | None = None,
) -> Sweep:
    """Adds points to the sweep of a folder, which is made if needed, and returns the sweep.

    Raises:
      ValueError: as ``merge_sweep``, or the folder cannot be written to.
    """
    workdir = Path(workdir)
    sweep = merge_sweep(config, points, workdir, reference)
    if (workdir / SWEEP).exists() and open_sweep(workdir) == sweep:
        return sweep
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with _claim_growing(workdir):
            sweep = merge_sweep(config, points, workdir, reference)  # others may have added some
            records.write_json(workdir / SWEEP, _to_json(sweep))
    except OSError as error:
        raise ValueError(f"{workdir}: cannot be written: {error.strerror}") from None
    return sweep


def check_folders(workdir: Path) -> None:
    """Raises ValueError if a point's folder holds a run of other settings than its name says."""
    for digits, folder in list_folders(workdir).items():
        if not (folder / records.CONFIG).exists():
            continue
        there = hash_folder(folder)
        if there[:HASH_DIGITS] != digits:
            raise ValueError(
                f"{folder} holds a run of other settings: its {records.CONFIG} has the hash "
                f"{there[:HASH_DIGITS]}; restore the folder's name, or remove it"
            )


def hash_folder(folder: Path) -> str:
    """Returns the identity of the run in a folder.

    Raises:
      ValueError: its config.json cannot be read.
    """
    try:  # the settings of this version are read ten times faster
        return hash_config(RunConfig.from_dict(json.loads((folder / records.CONFIG).read_text())))
    except (TypeError, KeyError, ValueError, StopIteration):
        pass
    try:
        return hash_config(read_config(folder))
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{folder / records.CONFIG} cannot be read: {error}") from None


def find_difference(
    earlier: RunConfig, new: RunConfig, ignored: Collection[str] = ()
) -> tuple[str, str] | None:
    """Returns the first setting that differs and changes numbers, and text on both values.

    Args:
      earlier: of a folder.
      new: of a command.
      ignored: dotted keys that may differ.

    Returns:
      Dotted key and the text of ``format_difference``; None if there is no difference.
    """
    there, here = dict(read_settings(earlier)), dict(read_settings(new))
    for key in {**there, **here}:
        earlier_value, value = (identify_value(key, part.get(key)) for part in (there, here))
        if is_in_identity(key) and key not in ignored and earlier_value != value:
            return key, format_difference(key, there.get(key), here.get(key))
    return None


def _check_same_base(there: Sweep, base: RunConfig, points: Sequence[Point]) -> None:
    """Raises ValueError if settings differ that change numbers and that a point does not set."""
    everywhere = set.intersection(*(set(p.overrides) for p in [*there.points, *points]))
    if difference := find_difference(there.base, base, everywhere):
        key, text = difference
        raise ValueError(
            f"{there.workdir} holds another sweep ({text}); choose another --workdir, or sweep "
            f"{key}"
        )


def _take_free_settings(earlier: RunConfig, new: RunConfig) -> RunConfig:
    """Returns the earlier settings with those of the new ones that change no number.

    One of them is where the weights lie that a run starts from.
    """
    is_free = {key: not is_in_identity(key) or key == INIT_FROM for key in new.flatten()}
    merged = earlier.flatten() | {k: v for k, v in new.flatten().items() if is_free[k]}
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


def _describe_plugins(sweep: Sweep) -> dict[str, str]:
    """Returns the SHA-256 of each plug-in: of an earlier one that was there when it came."""
    return describe_plugins(sweep.base.plugins) | read_recorded(sweep.workdir)[1]


def _to_json(sweep: Sweep) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "fedjax_diffusion": __version__,
        "created": sweep.created,
        "reference": sweep.reference,
        "base": sweep.base.to_dict(),
        **({records.PLUGINS: found} if (found := _describe_plugins(sweep)) else {}),
        "points": [
            {"hash": p.hash, "label": p.label, "overrides": dict(p.overrides)} for p in sweep.points
        ],
    }
