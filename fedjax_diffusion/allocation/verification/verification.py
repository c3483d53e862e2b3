"""Verification of an allocation from any source: all limits, costs and the bound, recomputed.

It shares no code with the solvers: equations and searches are those of ``recomputation``.

>>> from fedjax_diffusion.allocation import allocate, example_problem
>>> problem = example_problem()
>>> allocation = allocate(problem)
>>> verify(problem, allocation).is_valid
True
>>> verify(problem, allocation.replace(error=np.float64(0))).violations
('error = 0: must be 0.00185844074904, that of these bits',)
"""

import dataclasses

import numpy as np

from fedjax_diffusion.allocation.allocation import Allocation
from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.verification import checks
from fedjax_diffusion.allocation.verification.checked_allocation import Claim

_MAX_LISTED = 20


@dataclasses.dataclass(frozen=True)
class Verification:
    """Result of checking an allocation; ``str`` of it is the report.

    Attributes:
      is_valid: whether nothing is violated.
      violations: one line each, naming the field, the client, the value and what it must be.
      total_joules: the energy, recomputed.
      error: the squared error, recomputed; where the budget is out of reach, the least possible.
      lagrangian_bound_joules: a lower bound on the energy of any bits, bands and splits within the
        limits, from the dual at the allocation's multipliers. For a method that does not respect
        the budget: of any bands and splits of the same bits.
      relative_gap: by that bound, the largest possible excess of the energy over the least,
        ``(energy - bound) / energy``.
      is_bound_proven: whether ``dual_bound_joules`` is at most ``lagrangian_bound_joules``. A bound
        from a search (``refine``), or for one way to split the time, may be above it: it is no
        violation, but it is not checked.
    """

    is_valid: bool
    violations: tuple[str, ...]
    total_joules: float
    error: float
    lagrangian_bound_joules: float
    relative_gap: float
    is_bound_proven: bool

    def __str__(self) -> str:
        verdict = "valid" if self.is_valid else f"invalid, {len(self.violations)} violations"
        savings = f"of which at most {100 * self.relative_gap:.2g} % could be saved"
        lines = [f"{verdict}: {self.total_joules:.6g} J, {savings}; error {self.error:.6g}"]
        lines += self.violations[:_MAX_LISTED]
        if len(self.violations) > _MAX_LISTED:
            lines.append(f"and {len(self.violations) - _MAX_LISTED} more")
        return "\n".join(lines)


def verify(
    problem: AllocationProblem,
    allocation: Allocation,
    *,
    respects_limits: bool = True,
    respects_budget: bool = True,
    shares_bandwidth: bool | None = None,
    tolerance: float = 1e-9,
) -> Verification:
    """Recomputes every constraint, cost and bound of an allocation from the problem alone.

    For authors of allocators and readers of their results. It trusts no number of the allocation
    and shares no code with the solvers. The bits may be bit widths (integers) or, as from the
    method "relaxed", real (float64).

    Args:
      problem: K clients.
      allocation: a solution; only its fields are read.
      respects_limits: whether the bits must be within ``min_bits`` and ``max_bits``. False for the
        methods "demand", "fixed_bits" and "full_precision".
      respects_budget: whether the error must be within ``error_budget``. False for those methods
        and "largest".
      shares_bandwidth: whether the bands may be any that add up to at most the sum of the problem's
        (methods with ":joint_bandwidth"), not the problem's own; None takes ``is_band_shared``.
      tolerance: relative, in (0, 1), of every comparison.

    Returns:
      The violations and the recomputed figures, for any numbers in the allocation.

    Raises:
      ValueError: ``tolerance`` is out of range, or a field does not have the shape that the problem
        implies.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance = {tolerance:g}: must be in (0, 1)")
    # The fields may hold any number; a comparison with a number that is not finite fails.
    with np.errstate(all="ignore"):
        claim = Claim(
            problem,
            allocation,
            respects_limits=respects_limits,
            respects_budget=respects_budget,
            tolerance=tolerance,
        )
        if shares_bandwidth is not None:
            is_right = claim.is_shared == shares_bandwidth
            claim.require("is_band_shared", is_right, "{:d}", shares_bandwidth)
        return _examine(claim)


def _examine(claim: Claim) -> Verification:
    checks.check_fields(claim)
    checks.check_bits(claim)
    checks.check_bands(claim)
    total_joules = checks.check_costs(claim)
    checks.check_statuses(claim)
    error = checks.check_error(claim)
    bound, is_bound_proven = checks.check_bound(claim, total_joules)
    gap = (total_joules - bound) / total_joules if total_joules > 0 else 0.0
    return Verification(
        is_valid=not claim.findings.lines,
        violations=tuple(claim.findings.lines),
        total_joules=total_joules,
        error=error,
        lagrangian_bound_joules=bound,
        relative_gap=max(0.0, gap),
        is_bound_proven=is_bound_proven,
    )
