"""Text about the state of a sweep: counts, disk, running and failed points."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from fedjax_diffusion.runs import claims, records
from fedjax_diffusion.sweep.doubts import list_doubts
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.listing import Listing, PointName, find_folders, read_listing
from fedjax_diffusion.sweep.states import PointState, format_counts, read_failure, read_states

_ENOUGH = 20
"""Failed points of a list."""
_LAST_LINES = 4
_MAX_LINE = 200


def format_status(workdir: str | Path) -> str:
    """Returns the state of a sweep as text: counts, disk, running, failed, ill-measured points.

    Raises:
      ValueError: the folder holds no sweep.
    """
    sweep = read_listing(workdir)
    states = read_states(sweep)
    lines = [
        f"sweep   {sweep.workdir}",
        f"points  {len(states)}: {format_counts(states)}",
        f"disk    {format_gigabytes(count_bytes(sweep.workdir))}",
        *_list_running(sweep, states),
        *list_failures(sweep.points, states, find_folders(sweep)),
        *list_doubts(sweep.points, states),
    ]
    return "\n".join(lines)


def list_failures(
    points: Sequence[PointName], states: Sequence[PointState], folders: Sequence[Path] = ()
) -> list[str]:
    """Returns a line for each failed point.

    Args:
      points: of a sweep.
      states: one per point.
      folders: one per point, for the last lines of each failed point's traceback; or none.
    """
    failed = [number for number, state in enumerate(states) if state.status == "failed"]
    lines = []
    for number in failed[:_ENOUGH]:
        state = states[number]
        lines.append(f"failed  {points[number].label}, attempt {state.attempts}: {state.error}")
        lines += _read_last_lines(folders[number]) if folders else []
    return lines + [f"        and {len(failed) - _ENOUGH} more"] * (len(failed) > _ENOUGH)


def format_gigabytes(num_bytes: float) -> str:
    """Returns a number of bytes as text.

    >>> format_gigabytes(1_234_567)
    '0.0012 GB'
    """
    return f"{num_bytes / 1e9:.2g} GB"


def _list_running(sweep: Listing, states: Sequence[PointState]) -> list[str]:
    rows = zip(sweep.points, find_folders(sweep), states, strict=True)
    claimed = [row for row in rows if row[2].status in ("running", "stale")]
    owners = claims.read_owners(sweep.workdir / claims.FOLDER) if claimed else {}
    lines = []
    for point, folder, state in claimed:
        owner = owners.get(point.hash[:HASH_DIGITS])
        if owner is None:
            continue
        place = f"{owner.about.get('host')}, process {owner.about.get('pid')}"
        rounds = f"round {_count_rounds(folder)} of {sweep.find_setting(point, 'num_rounds')}"
        lines.append(f"{state.status:7s} {point.label}, {rounds}, on {place}")
    return lines


def _read_last_lines(folder: Path) -> list[str]:
    """Returns the end of a failed point's traceback, indented, without the marks under its code."""
    lines = str(read_failure(folder).get("traceback", "")).splitlines()
    said = [line for line in lines if line.strip(" ^~")]
    return [f"        {line[:_MAX_LINE]}" for line in said[-_LAST_LINES:]]


def _count_rounds(folder: Path) -> int:
    try:
        return len(records.read_metrics(folder))
    except ValueError:
        return 0


def count_bytes(folder: Path) -> int:
    """Returns the bytes of all files in a folder, some of which may vanish meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
