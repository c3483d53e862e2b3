"""Settings of a study: the varied quantities, and number and shape of its images."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fedjax_diffusion.edge import Distance
from fedjax_diffusion.planning.allocator_config import Deadline, WholeMethod
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES
from fedjax_diffusion.values import Range, Size, check_fields, shorten

_Length: TypeAlias = Annotated[int, Range(1, 8192)]
_Percent: TypeAlias = Annotated[float, Range(0, 100, is_above=True, is_below=True)]
_SOME = Size(1, 1000)


@dataclass(frozen=True)
class StudyConfig:
    """Quantities that a study varies, and number and shape of its images, which it does not read.

    Attributes:
      rounds: R in 1..1,000,000, number of channel draws averaged at each point.
      time_budgets_seconds: deadlines T, increasing, in [1e-9, 1e12].
      distances_meters: increasing, in [0.001, 1e9]; at each point all clients have the same
        distance.
      methods: methods of ``allocate`` with whole bits, compared with ``allocator.method``; those of
        ``REFERENCE_BASELINES`` must be among them.
      goals_percent: savings in (0, 100); the study reports the points that reach them.
      image_shape: height, width and channels, in 1..8192 each, as a study reads no images.
      num_examples: N in 1..100,000,000 images, spread over the clients by the config's
        ``partition``.
      num_classes: number of classes, in 1..1,000,000, of N / num_classes images each, to within
        one.

    Raises:
      ValueError: a value is out of range.
    """

    rounds: Annotated[int, Range(1, 1_000_000)]
    time_budgets_seconds: Annotated[tuple[Deadline, ...], _SOME]
    distances_meters: Annotated[tuple[Distance, ...], _SOME]
    methods: Annotated[tuple[WholeMethod, ...], Size(1, 100)]
    goals_percent: Annotated[tuple[_Percent, ...], _SOME]
    image_shape: tuple[_Length, _Length, _Length]
    num_examples: Annotated[int, Range(1, 100_000_000)]
    num_classes: Annotated[int, Range(1, 1_000_000)]

    def __post_init__(self):
        check_fields(self, "study")
        for name in ("time_budgets_seconds", "distances_meters", "goals_percent"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)):
                raise ValueError(f"study.{name} must increase, got {shorten(values)}")
        missing = [baseline for baseline in REFERENCE_BASELINES if baseline not in self.methods]
        if missing or len(set(self.methods)) < len(self.methods):
            lack = f"it lacks {' and '.join(missing)}" if missing else "one is there twice"
            raise ValueError(
                f"study.methods must hold {' and '.join(REFERENCE_BASELINES)}, and no method "
                f"twice: {lack} in {shorten(self.methods)}"
            )
