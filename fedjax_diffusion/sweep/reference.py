"""The points of a sweep that the others are held against, paired by seed."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedjax_diffusion.runs.ledger import percent_saved
from fedjax_diffusion.sweep.identity import hash_settings, read_settings
from fedjax_diffusion.sweep.points import Point

SAVED = {
    "saved_joules_percent.reference": "total_joules",
    "saved_bytes_percent.reference": "uplink_bytes",
}
"""Columns of the index with savings, and those by which two points are held against each other."""


def hash_family(point: Point) -> str:
    """Returns the identity of a point's settings without its seed."""
    settings = {key: value for key, value in read_settings(point.config) if key != "seed"}
    return hash_settings(settings)


def find_reference(points: Sequence[Point], pattern: str) -> str:
    """Returns the family of the points that a name or pattern means.

    Args:
      points: of a sweep.
      pattern: of a label or hash, as ``--only`` takes it. It may match several seeds of one family.

    Raises:
      ValueError: it matches no point, or points that differ in more than their seeds.
    """
    families: dict[str, Point] = {}
    for point in points:
        if point.matches(pattern):
            families.setdefault(hash_family(point), point)
    if not families:
        raise ValueError(
            f"reference={pattern} matches no point; the first point is {points[0].label}"
        )
    if len(families) > 1:
        one, two = list(families.values())[:2]
        raise ValueError(
            f"reference={pattern} matches {one.label} and {two.label}, which differ in more than "
            "their seeds; name one of them"
        )
    return next(iter(families))


def list_savings(
    points: Sequence[Point], reference: str, spent: Sequence[Mapping[str, Any]]
) -> list[dict[str, float | None]]:
    """Returns the savings of each point against the reference's point of the same seed.

    Args:
      points: of a sweep.
      reference: a family.
      spent: per point the columns that ``SAVED`` names; None if they are not known yet.

    Returns:
      Per point the columns of ``SAVED``; None where one of both points is not finished or not in
      the sweep, or the reference has spent nothing.
    """
    of_reference = {
        point.config.seed: row
        for point, row in zip(points, spent, strict=True)
        if hash_family(point) == reference
    }

    def save(point: Point, row: Mapping[str, Any], name: str) -> float | None:
        if point.config.seed not in of_reference:
            return None
        ours, theirs = row[name], of_reference[point.config.seed][name]
        return None if ours is None or theirs is None else percent_saved(ours, theirs)

    return [
        {saved: save(point, row, name) for saved, name in SAVED.items()}
        for point, row in zip(points, spent, strict=True)
    ]
