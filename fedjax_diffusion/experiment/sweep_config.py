"""Settings of a sweep: what its finished points keep, and its reference."""

from dataclasses import dataclass

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
      ValueError: ``keep`` is none of these.
    """

    keep: str
    reference: str | None = None

    def __post_init__(self):
        if self.keep not in KEEPS:
            raise ValueError(f"sweep.keep must be one of {', '.join(KEEPS)}, got {self.keep!r}")
