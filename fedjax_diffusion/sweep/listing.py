"""The points of a sweep as its folder lists them: sweep.json, and the run folders in points.

Their settings are plain values, which nobody has checked: the state of a sweep is read without JAX.
A point's folder is found by the hash in its name alone, so labels may change.
"""

import fnmatch
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from fedjax_diffusion.runs.records import SWEEP
from fedjax_diffusion.sweep.identity import HASH_DIGITS, folder_name_to_hash, make_folder_name

SCHEMA = 1
POINTS = "points"


@dataclass(frozen=True)
class PointName:
    """The name of a point.

    Attributes:
      label: readable, of the swept settings; two points may share it.
      hash: the identity, 64 hexadecimal digits.
    """

    label: str
    hash: str

    @property
    def folder(self) -> str:
        """Name of the point's folder, ``LABEL--HASH12``."""
        return make_folder_name(self.label, self.hash)

    def matches(self, pattern: str) -> bool:
        """Returns whether the label, the hash or the folder's name is one of those that are meant.

        Args:
          pattern: names as of a shell, with ``*``, ``?`` and ``[...]``, divided by commas.
        """
        names = {self.label, self.folder, self.hash, self.hash[:HASH_DIGITS]}
        patterns = pattern.split(",")
        if not names.isdisjoint(patterns):
            return True
        open_patterns = [p for p in patterns if any(char in p for char in "*?[")]
        return any(fnmatch.fnmatchcase(name, p) for p in open_patterns for name in names)


@dataclass(frozen=True)
class ListedPoint(PointName):
    """A point as sweep.json has it.

    Attributes:
      overrides: the swept settings by dotted key.
    """

    overrides: Mapping[str, Any]


class Listing(NamedTuple):
    """A sweep as sweep.json has it.

    Attributes:
      workdir: the folder.
      base: the settings that are not swept, nested.
      points: all points, in the order in which they were added.
      created: time, ISO 8601.
      reference: as of ``Sweep``.
    """

    workdir: Path
    base: Mapping[str, Any]
    points: list[ListedPoint]
    created: str
    reference: str | None = None

    def find_setting(self, point: ListedPoint, key: str) -> Any:
        """Returns a setting of a point, by its dotted key."""
        if key in point.overrides:
            return point.overrides[key]
        return functools.reduce(lambda group, name: group[name], key.split("."), self.base)


class HasPoints(Protocol):
    """A ``Listing``, or a sweep whose settings are checked."""

    @property
    def workdir(self) -> Path:
        """The folder."""
        ...

    @property
    def points(self) -> Sequence[PointName]:
        """All points."""
        ...


def read_listing(workdir: str | Path) -> Listing:
    """Returns the sweep that a folder lists.

    Raises:
      ValueError: the folder holds no sweep, one of a newer version, or a damaged one.
    """
    workdir = Path(workdir)
    path = workdir / SWEEP
    if not path.exists():
        raise ValueError(f"{workdir} is not the folder of a sweep: it has no {SWEEP}")
    content = _read_content(path)
    try:
        points = [ListedPoint(p["label"], p["hash"], p["overrides"]) for p in content["points"]]
        reference = content.get("reference")
        return Listing(workdir, content["base"], points, content["created"], reference)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _read_content(path: Path) -> Mapping[str, Any]:
    """Returns the content of a sweep.json of this version or an earlier one."""
    try:
        content = json.loads(path.read_text())
        schema = int(content["schema"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if schema > SCHEMA:
        raise ValueError(
            f"{path} is of a newer version: its schema is {schema}, this version reads {SCHEMA}"
        )
    return content


def find_folder(sweep: HasPoints, point: PointName) -> Path:
    """Returns the folder of a point: the one with its hash, or one by its label if it is new."""
    return list_folders(sweep.workdir).get(
        point.hash[:HASH_DIGITS], sweep.workdir / POINTS / point.folder
    )


def find_folders(sweep: HasPoints) -> list[Path]:
    """Returns the folders of all points of a sweep, as ``find_folder`` does, in its order."""
    known, points = list_folders(sweep.workdir), sweep.workdir / POINTS
    return [known.get(p.hash[:HASH_DIGITS], points / p.folder) for p in sweep.points]


def list_folders(workdir: Path) -> dict[str, Path]:
    """Returns the folders of points by the digits of the hash in their names."""
    points = workdir / POINTS
    if not points.exists():
        return {}
    return {folder_name_to_hash(path.name): path for path in sorted(points.iterdir())}
