"""Settings of the allocation between rounds: method, deadline, error budget, baselines."""

from dataclasses import dataclass, field

import numpy as np

from fedjax_diffusion.allocation import AllocationProblem, MethodSpec, parse_method
from fedjax_diffusion.planning.bit_schedule import BitSchedule
from fedjax_diffusion.planning.error_budget import ErrorBudget

ON_INFEASIBLE = ("drop", "stop")
SCHEDULE = "schedule"
"""Method of a run whose bits follow from the round."""


@dataclass(frozen=True)
class AllocatorConfig:
    """Settings of the allocation of bits and compute times between rounds.

    Attributes:
      method: ``on_demand``, ``demand``, ``fixed_bits:B``, ``full_precision`` or another method of
        ``allocate`` with whole bits; or ``schedule``: the bits of group ``schedule``, which like
        fixed ones ignore the devices' limits and the error budget. Optionally with
        ``:max_frequency`` or ``:joint_bandwidth``.
      time_budget_seconds: T > 0, the deadline of a round: computing and uploading.
      error_budget: ``ErrorBudget``; only ``on_demand`` respects it.
      on_infeasible: ``"drop"`` continues with the clients that can participate, ``"stop"`` raises.
      baselines: methods of ``allocate`` with whole bits, charged for the same clients, channel and
        deadline.
      schedule: bits by round, for the method ``SCHEDULE``.

    Raises:
      ValueError: a value is out of range.
    """

    method: str
    time_budget_seconds: float
    error_budget: ErrorBudget
    on_infeasible: str
    baselines: tuple[str, ...]
    schedule: BitSchedule = field(default_factory=BitSchedule)

    def __post_init__(self):
        if self.on_infeasible not in ON_INFEASIBLE:
            names = ", ".join(ON_INFEASIBLE)
            raise ValueError(f"on_infeasible must be one of {names}, got {self.on_infeasible!r}")
        if not self.time_budget_seconds > 0:
            raise ValueError(f"time_budget_seconds must be above 0, got {self.time_budget_seconds}")
        if self.is_scheduled and not self.schedule.bits:
            raise ValueError(
                f"method {self.method!r} needs allocator.schedule.bits, such as (4, 6, 8): bits by "
                "round"
            )
        for method in (str(self.method_spec), *self.baselines):
            if not parse_method(method).method.gives_whole_bits:
                raise ValueError(f"method {method!r} gives real numbers of bits, not whole ones")

    @property
    def method_spec(self) -> MethodSpec:
        """The parsed ``method``; of ``SCHEDULE`` the one that sends what the problem demands."""
        name, *options = self.method.split(":")
        return parse_method(":".join(["demand" if name == SCHEDULE else name, *options]))

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
