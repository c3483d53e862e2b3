"""Tables of a report: its points, their rounds, and the folders that they were read from."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow

Kind = Literal["run", "comparison", "study", "sweep"]


@dataclass(frozen=True)
class ReportTables:
    """Numbers of a report. Figures and page show these numbers, and no others.

    Attributes:
      kind: of the folder: ``"run"``, ``"comparison"``, ``"study"`` or ``"sweep"``.
      title: a few words that name the folder.
      index: one row per point, with the columns of ``sweep.index.read_sweep``; a run is one row. A
        column ``variant``, if there is one, names the variants of a comparison.
      rounds: one row per point and round, with the columns of a sweep's ``rounds.parquet``. The
        energies and bytes are those of the round alone.
      folders: run folder by hash, as the column ``hash`` of both tables has it.
      axes: dotted keys of the swept settings that differ between points, ``"seed"`` included. Each
        is a column of ``index``.
      reference: hash of a point of the setting that the others are held against; None: no such.
    """

    kind: Kind
    title: str
    index: "pyarrow.Table"
    rounds: "pyarrow.Table"
    folders: Mapping[str, Path]
    axes: tuple[str, ...] = ()
    reference: str | None = None

    @functools.cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of ``index``."""
        return self.index.to_pylist()
