"""Settings of a sweep: what its finished points keep, and its reference."""

from dataclasses import dataclass
from typing import Annotated

from fedjax_diffusion.experiment.auto_value import AUTO, auto_or
from fedjax_diffusion.values import OneOf, PathText, check_fields

ALL, LAST, NONE = KEEPS = ("all", "last", "none")
MOST_LANES = 64


@dataclass(frozen=True)
class SweepConfig:
    """Settings of ``fedjax-diffusion sweep`` that change no number of a run.

    Attributes:
      keep: checkpoints that a finished point keeps. ``"all"``: as many as ``checkpoint.keep``;
        ``"last"``: the last one; ``"none"``: the last one until its images are evaluated, then
        none.
      reference: label, hash or pattern of the points that all others are held against, as
        ``--reference`` takes it; None: no point.
      lanes: points that are trained side by side, their rounds in one program: 1..64, or
        ``"auto"``: as many as fit into half of the memory of an accelerator that trains several
        clients at once, and 1 on a CPU or for a large model. Numbers change by rounding only.

    Raises:
      ValueError: a value is out of range.
    """

    keep: Annotated[str, OneOf(KEEPS)]
    reference: PathText | None = None
    lanes: Annotated[str | int, auto_or(MOST_LANES)] = AUTO

    def __post_init__(self):
        check_fields(self, "sweep")
