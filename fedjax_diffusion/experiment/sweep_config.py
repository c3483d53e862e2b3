"""Settings of a sweep: what its finished points keep, and its reference."""

from dataclasses import dataclass
from typing import Annotated

from fedjax_diffusion.values import OneOf, PathText, check_fields

ALL, LAST, NONE = KEEPS = ("all", "last", "none")


@dataclass(frozen=True)
class SweepConfig:
    """Settings of ``fedjax-diffusion sweep`` that change no number of a run.

    Attributes:
      keep: checkpoints that a finished point keeps. ``"all"``: as many as ``checkpoint.keep``;
        ``"last"``: the last one; ``"none"``: the last one until its images are evaluated, then
        none.
      reference: label, hash or pattern of the points that all others are held against, as
        ``--reference`` takes it; None: no point.

    Raises:
      ValueError: a value is out of range.
    """

    keep: Annotated[str, OneOf(KEEPS)]
    reference: PathText | None = None

    def __post_init__(self):
        check_fields(self, "sweep")
