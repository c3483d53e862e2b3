"""Settings of a study: the varied quantities, and number and shape of its images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedjax_diffusion.allocation import parse_method
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES


@dataclass(frozen=True)
class StudyConfig:
    """Quantities that a study varies, and number and shape of its images, which it does not read.

    Attributes:
      rounds: R >= 1, number of channel draws averaged at each point.
      time_budgets_seconds: deadlines T, increasing, > 0.
      distances_meters: increasing, > 0; at each point all clients have the same distance.
      methods: methods of ``allocate`` with whole bits, compared with ``allocator.method``; those of
        ``REFERENCE_BASELINES`` must be among them.
      goals_percent: savings in (0, 100); the study reports the points that reach them.
      image_shape: height, width and channels, as a study reads no images.
      num_examples: N >= 1 images, spread over the clients by the config's ``partition``.
      num_classes: number of classes, of N / num_classes images each, to within one.

    Raises:
      ValueError: a value is out of range.
    """

    rounds: int
    time_budgets_seconds: tuple[float, ...]
    distances_meters: tuple[float, ...]
    methods: tuple[str, ...]
    goals_percent: tuple[float, ...]
    image_shape: tuple[int, int, int]
    num_examples: int
    num_classes: int

    def __post_init__(self):
        for name in ("rounds", "num_examples", "num_classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"study.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("time_budgets_seconds", "distances_meters", "goals_percent"):
            _check_numbers(name, getattr(self, name))
        if max(self.goals_percent) >= 100:
            raise ValueError(f"study.goals_percent must be below 100, got {self.goals_percent}")
        _check_methods(self.methods)
        is_whole = all(isinstance(n, int) and n >= 1 for n in self.image_shape)
        if len(self.image_shape) != 3 or not is_whole:
            raise ValueError(
                f"study.image_shape must be (H, W, C), whole numbers >= 1, got {self.image_shape}"
            )


def _check_numbers(name: str, values: Sequence[float]) -> None:
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not values or not is_number or not all(0 < value < np.inf for value in values):
        raise ValueError(f"study.{name} must be numbers above 0, got {values}")
    if list(values) != sorted(set(values)):
        raise ValueError(f"study.{name} must increase, got {values}")


def _check_methods(methods: Sequence[str]) -> None:
    for method in methods:
        if not isinstance(method, str):
            raise ValueError(f"study.methods must be names, got {method!r}")
        try:
            spec = parse_method(method)
        except ValueError as error:
            raise ValueError(f"study.methods: {error}") from None
        if not spec.method.gives_whole_bits:
            raise ValueError(f"study.methods: {method!r} gives real numbers of bits, not whole")
    missing = [baseline for baseline in REFERENCE_BASELINES if baseline not in methods]
    if missing or len(set(methods)) < len(methods):
        lack = f"it lacks {' and '.join(missing)}" if missing else "one is there twice"
        raise ValueError(
            f"study.methods must hold {' and '.join(REFERENCE_BASELINES)}, and no method twice: "
            f"{lack} in {methods}"
        )
