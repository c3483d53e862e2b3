"""Settings of the allocation between rounds: method, deadline, error budget, baselines."""

from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import numpy as np

from fedjax_diffusion.allocation import AllocationProblem, MethodSpec, parse_method
from fedjax_diffusion.planning.bit_schedule import BitSchedule
from fedjax_diffusion.planning.error_budget import ErrorBudget
from fedjax_diffusion.values import Checked, OneOf, Range, Size, check_fields, shorten

ON_INFEASIBLE = ("drop", "stop")
SCHEDULE = "schedule"
"""Method of a run whose bits follow from the round."""


def parse_whole(method: str) -> MethodSpec:
    """Returns a method of ``allocate``.

    Raises:
      ValueError: there is no such method, or it gives real numbers of bits.
    """
    spec = parse_method(method)
    if not spec.method.gives_whole_bits:
        raise ValueError(f"method {shorten(method)} gives real numbers of bits, not whole ones")
    return spec


def _parse_of_run(method: str) -> MethodSpec:
    """Returns a method; of ``SCHEDULE`` the one that sends what the problem demands."""
    name, *options = method.split(":")
    return parse_whole(":".join(["demand" if name == SCHEDULE else name, *options]))


WholeMethod: TypeAlias = Annotated[
    str, Checked("a method of the allocator with whole bits, such as fixed_bits:8", parse_whole)
]
Deadline: TypeAlias = Annotated[float, Range(1e-9, 1e12)]


@dataclass(frozen=True)
class AllocatorConfig:
    """Settings of the allocation of bits and compute times between rounds.

    Attributes:
      method: ``on_demand``, ``demand``, ``fixed_bits:B``, ``full_precision`` or another method of
        ``allocate`` with whole bits; or ``schedule``: the bits of group ``schedule``, which like
        fixed ones ignore the devices' limits and the error budget. Optionally with
        ``:max_frequency`` or ``:joint_bandwidth``.
      time_budget_seconds: T in [1e-9, 1e12], the deadline of a round: computing and uploading.
      error_budget: ``ErrorBudget``; only ``on_demand`` respects it.
      on_infeasible: ``"drop"`` continues with the clients that can participate, ``"stop"`` raises.
      baselines: methods of ``allocate`` with whole bits, charged for the same clients, channel and
        deadline.
      schedule: bits by round, for the method ``SCHEDULE``.

    Raises:
      ValueError: a value is out of range.
    """

    method: Annotated[
        str, Checked("a method of the allocator with whole bits, or schedule", _parse_of_run)
    ]
    time_budget_seconds: Deadline
    error_budget: ErrorBudget
    on_infeasible: Annotated[str, OneOf(ON_INFEASIBLE)]
    baselines: Annotated[tuple[WholeMethod, ...], Size(0, 100)]
    schedule: BitSchedule = field(default_factory=BitSchedule)

    def __post_init__(self):
        check_fields(self, "allocator")
        if self.is_scheduled and not self.schedule.bits:
            raise ValueError(
                f"method {self.method!r} needs allocator.schedule.bits, such as (4, 6, 8): bits by "
                "round"
            )

    @property
    def method_spec(self) -> MethodSpec:
        """The parsed ``method``; of ``SCHEDULE`` the one that sends what the problem demands."""
        return _parse_of_run(self.method)

    @property
    def is_scheduled(self) -> bool:
        """Whether the bits are those of ``schedule``."""
        return self.method.split(":")[0] == SCHEDULE

    def check_schedule(self, min_bits: int) -> None:
        """Raises ValueError if the bits of the schedule are fewer than the quantizer has."""
        if self.is_scheduled and min(self.schedule.bits) < min_bits:
            raise ValueError(
                f"allocator.schedule.bits = {self.schedule.bits}: sends fewer bits than "
                f"quantization.name needs, {min_bits}"
            )

    def with_schedule(
        self, min_bits: int, round: int, num_examples: np.ndarray, problem: AllocationProblem
    ) -> AllocationProblem:
        """Returns the problem in which clients demand the bits of the schedule, if there is one.

        Args:
          min_bits: the fewest bits that the quantizer has, to which fewer by weight are raised.
          round: >= 0.
          num_examples: [M], of each client.
          problem: of M clients.
        """
        if not self.is_scheduled:
            return problem
        present = np.where(problem.is_present, num_examples, 0)
        bits = self.schedule.find_bits(round, present)
        return problem.replace(min_bits=np.maximum(bits, min_bits))
