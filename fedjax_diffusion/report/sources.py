"""Folder of a run, comparison, study or sweep, read for a report as it is now."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from fedjax_diffusion.compare import Comparison, read_comparison
from fedjax_diffusion.experiment.config import to_run_config
from fedjax_diffusion.experiment.run_config import RunConfig
from fedjax_diffusion.report.kinds import SEED_IN_LABEL, find_kind
from fedjax_diffusion.report.tables import Kind, ReportTables
from fedjax_diffusion.runs import claims, records
from fedjax_diffusion.runs.folder import read_config, read_settings
from fedjax_diffusion.study import Study, read_study
from fedjax_diffusion.sweep.doubts import list_doubts
from fedjax_diffusion.sweep.folder import Sweep, open_sweep
from fedjax_diffusion.sweep.identity import HASH_DIGITS, hash_config
from fedjax_diffusion.sweep.index import tabulate_points
from fedjax_diffusion.sweep.listing import find_folders
from fedjax_diffusion.sweep.points import Point
from fedjax_diffusion.sweep.reference import hash_family
from fedjax_diffusion.sweep.rounds import tabulate_rounds
from fedjax_diffusion.sweep.states import PointState, read_state, read_states


@dataclass(frozen=True)
class Source:
    """A folder as it was when it was read.

    Attributes:
      workdir: the folder.
      tables: its numbers.
      config: the settings of the first point; those of ``tables.axes`` differ between points.
      base: the settings that are not swept, as the definition of the sweep has them.
      overrides: the swept settings of each point by dotted key, in the order of the index.
      comparison: with the verdicts of a comparison; None for another kind, and if it cannot be
        concluded.
      study: None for another kind.
      warnings: one line each, about damaged files and results that cannot be compared.
    """

    workdir: Path
    tables: ReportTables
    config: RunConfig
    base: RunConfig
    overrides: Sequence[Mapping[str, Any]] = ()
    comparison: Comparison | None = None
    study: Study | None = None
    warnings: Sequence[str] = ()

    @property
    def num_elsewhere(self) -> int:
        """Number of compared runs that are not finished in this folder: other folders hold them."""
        if self.comparison is None:
            return 0
        rows = [row for row in self.tables.rows if PointState(row["status"]).is_done]
        done = {(row["variant"], row["seed"]) for row in rows}
        return sum((run.variant, run.seed) not in done for run in self.comparison.runs)


def read_source(workdir: str | Path) -> Source:
    """Reads a folder for a report; writes nothing.

    A point that is not finished, failed or is damaged is a row with its status.

    Raises:
      ValueError: the folder holds nothing of this kind, or the file that lists its points or
        settings is damaged.
    """
    workdir = Path(workdir)
    kind = find_kind(workdir)
    readers: dict[Kind, Callable[[Path], Source]] = {
        "run": _read_run,
        "study": _read_study,
        "sweep": _read_sweep,
        "comparison": _read_comparison,
    }
    return readers[kind](workdir)


def _read_run(workdir: Path) -> Source:
    config = read_config(workdir)
    point = Point(_name(workdir), hash_config(config), {}, config)
    owner = next(iter(claims.read_owners(workdir / claims.FOLDER).values()), None)
    return _tabulate(
        "run", Sweep(workdir, config, [point], ""), [workdir], [read_state(workdir, owner)]
    )


def _read_sweep(workdir: Path, kind: Kind = "sweep") -> Source:
    sweep = open_sweep(workdir)
    return _tabulate(kind, sweep, find_folders(sweep), read_states(sweep))


def _read_comparison(workdir: Path) -> Source:
    source = _read_sweep(workdir, "comparison")
    labels = source.tables.index["label"].to_pylist()
    variants = pa.array([label.rpartition(SEED_IN_LABEL)[0] for label in labels], pa.string())
    index = source.tables.index.add_column(2, "variant", variants)
    comparison, warnings = None, list(source.warnings)
    try:
        comparison = read_comparison(workdir)
    except ValueError as error:
        warnings.append(f"The verdict is missing: {error}")
    tables = replace(source.tables, index=index)
    return replace(source, tables=tables, comparison=comparison, warnings=warnings)


def _read_study(workdir: Path) -> Source:
    study = read_study(workdir)
    config = to_run_config(read_settings(workdir))
    rows = [
        {**dict(zip(point._fields[:-1], point[:-1], strict=True)), **row._asdict()}
        for point in study.points
        for row in point.rows
    ]
    index = pa.Table.from_pylist(rows)
    tables = ReportTables("study", _name(workdir), index, tabulate_rounds([], []), {})
    return Source(workdir, tables, config, config, study=study)


def _tabulate(
    kind: Kind, sweep: Sweep, folders: Sequence[Path], states: Sequence[PointState]
) -> Source:
    names = [point.hash[:HASH_DIGITS] for point in sweep.points]
    index = tabulate_points(sweep, folders, states)
    tables = ReportTables(
        kind,
        _name(sweep.workdir),
        index,
        tabulate_rounds(sweep.points, folders),
        dict(zip(names, folders, strict=True)),
        _find_axes(sweep.points, index),
        _find_reference(sweep),
    )
    warnings = [*list_doubts(sweep.points, states), *_find_damaged(states, tables)]
    overrides = [point.overrides for point in sweep.points]
    config = sweep.points[0].config
    return Source(sweep.workdir, tables, config, sweep.base, overrides, warnings=warnings)


def _find_axes(points: Sequence[Point], index: pa.Table) -> tuple[str, ...]:
    """Returns the swept settings of which two points have different values."""
    swept = dict.fromkeys(key for point in points for key in point.overrides)
    return tuple(key for key in swept if len({repr(v) for v in index[key].to_pylist()}) > 1)


def _find_reference(sweep: Sweep) -> str | None:
    """Returns the hash of the first point of the family that the others are held against."""
    if sweep.reference is None:
        return None
    of_family = (point for point in sweep.points if hash_family(point) == sweep.reference)
    return next((point.hash[:HASH_DIGITS] for point in of_family), None)


def _find_damaged(states: Sequence[PointState], tables: ReportTables) -> list[str]:
    """Returns a line for each finished point whose rounds cannot be read."""
    counts = Counter(tables.rounds["hash"].to_pylist())
    return [
        f"{folder / records.METRICS} is damaged: it has {counts[name]} readable rounds of "
        f"{state.summary['num_rounds']}; restore it from a copy"
        for (name, folder), state in zip(tables.folders.items(), states, strict=True)
        if state.summary is not None and counts[name] != state.summary["num_rounds"]
    ]


def _name(workdir: Path) -> str:
    return workdir.resolve().name
