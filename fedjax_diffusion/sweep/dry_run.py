"""Text about what a sweep would play: points, groups of equal programs, disk and time."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedjax_diffusion.experiment.build import count_state_bytes
from fedjax_diffusion.experiment.programs import list_static
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.experiment.sweep_config import ALL, LAST, NONE
from fedjax_diffusion.host.tables import format_table
from fedjax_diffusion.runs import environment
from fedjax_diffusion.sweep.checks import choose_checked
from fedjax_diffusion.sweep.folder import Sweep
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.index import read_machine
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.play import PlayOptions, is_chosen, is_open
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.states import format_counts, read_states
from fedjax_diffusion.sweep.status import count_bytes, format_gigabytes

_ENOUGH = 20
"""Lines of a list, and folders that are measured."""


def format_dry_run(sweep: Sweep, options: PlayOptions) -> str:
    """Returns the points that a sweep would play, and their expected cost, as text.

    Time, and the disk of a whole point, are known once a point of the sweep is finished: the time
    is that of the devices which played those points, and these are named. Before that, the disk is
    that of the checkpoints.
    """
    folders, states = find_folders(sweep), read_states(sweep)
    rows = list(zip(sweep.points, folders, states, strict=True))
    to_play = [
        point
        for point, folder, state in rows
        if is_chosen(point, options) and is_open(sweep, folder, state, options)
    ][: options.limit]
    done = [(folder, state.summary) for _, folder, state in rows if state.summary is not None]
    num_groups = len({list_static(point.config) for point in to_play})
    lines = [
        f"sweep   {sweep.workdir}",
        f"points  {len(rows)}: {format_counts(states)}; {len(to_play)} to play",
        f"groups  {num_groups} of equal static settings",
        *([f"cost    {_estimate(sweep, options, to_play, done)}"] if to_play else []),
        "",
        *([format_table([_to_cells(point) for point in to_play[:_ENOUGH]])] if to_play else []),
        *([f"and {len(to_play) - _ENOUGH} more"] * (len(to_play) > _ENOUGH)),
    ]
    return "\n".join(lines).rstrip()


def _estimate(
    sweep: Sweep,
    options: PlayOptions,
    to_play: Sequence[Point],
    done: Sequence[tuple[Path, Mapping[str, Any]]],
) -> str:
    if done:
        disk = statistics.mean(count_bytes(folder) for folder, _ in done[:_ENOUGH])
        machines = [read_machine(folder) for folder, _ in done]
        # The time of a round is shared out to the lanes that had it together.
        seconds = statistics.mean(
            summary["wall_seconds"] / environment.count_lanes(machine)
            for machine, (_, summary) in zip(machines, done, strict=True)
        )
        devices = sorted({machine.get("device", "an unknown device") for machine in machines})
        return (
            f"{format_gigabytes(disk * len(to_play))}, "
            f"{seconds * len(to_play) / 60:.2g} minutes of rounds on {' and '.join(devices)}"
        )
    checked = choose_checked(to_play)
    kept = sweep.base.sweep.keep
    sizes = [count_state_bytes(p.config) * _count_kept(kept, p.config, options) for p in checked]
    disk = statistics.mean(sizes) * len(to_play)
    return f"{format_gigabytes(disk)} of checkpoints; minutes are known after the first point"


def _count_kept(keep: str, config: RunConfig, options: PlayOptions) -> int:
    """Returns the number of checkpoints that a finished point keeps: one until it is evaluated."""
    return {ALL: config.checkpoint.keep, LAST: 1, NONE: int(not options.is_evaluating)}[keep]


def _to_cells(point: Point) -> dict[str, Any]:
    return {"point": point.label, "hash": point.hash[:HASH_DIGITS]}
