"""Settings of a sweep: what its finished points keep, and its reference."""

from dataclasses import dataclass

ALL, LAST, NONE = KEEPS = ("all", "last", "none")
AUTO = "auto"
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
      ValueError: a value is none of these.
    """

    keep: str
    reference: str | None = None
    lanes: int | str = AUTO

    def __post_init__(self):
        if self.keep not in KEEPS:
            raise ValueError(f"sweep.keep must be one of {', '.join(KEEPS)}, got {self.keep!r}")
        is_number = str(self.lanes).isdecimal() and 1 <= int(self.lanes) <= MOST_LANES
        if not is_number and self.lanes != AUTO:
            raise ValueError(
                f"sweep.lanes must be 'auto' or in 1..{MOST_LANES}, got {self.lanes!r}"
            )
