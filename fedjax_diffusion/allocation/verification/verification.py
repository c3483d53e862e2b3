"""Checks an allocation, from any source: every limit, every cost and the bound, computed anew.

Nothing here is shared with the solvers: equations and searches are those of ``recomputation``.

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
    """What came of checking an allocation; as text, the report.

    Attributes:
      is_valid: nothing is violated.
      violations: one line each, naming the field, the client, the value and what it must be.
      total_joules: the energy, recomputed.
      error: the squared error, recomputed; where the budget is out of reach, the least possible.
      lagrangian_bound_joules: no bits, bands and splits within the limits cost less, by the dual at
        the allocation's multipliers. Where the budget is not respected: no bands and splits of the
        same bits.
      relative_gap: by that bound, how far the energy may be above the least, ``(energy - bound) /
        energy``.
      is_bound_proven: ``dual_bound_joules`` is not above ``lagrangian_bound_joules``. A bound from
        a search (``refine``), or for one way to split the time, is above it: that is no violation,
        but taken on trust.
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

    For the author of an allocator, or a reader of its answers: it trusts no number and
    shares no code with the solvers here. The bits may be bit widths (integers) or, as the method
    "relaxed" gives them, real (float64).

    Args:
      problem: K clients.
      allocation: an answer; only its fields are read.
      respects_limits: the bits have to be within ``min_bits`` and ``max_bits``. False for the
        methods "demand", "fixed_bits" and "full_precision".
      respects_budget: the error has to be within ``error_budget``. False for those and "largest".
      shares_bandwidth: the bands have to add up to no more than the problem's do (methods with
        ":joint_bandwidth"), instead of being those; None to go by ``is_band_shared``.
      tolerance: relative, > 0, of every comparison.

    Returns:
      The violations and the recomputed figures. Always an answer, however wrong the numbers are.

    Raises:
      ValueError: a field has not the shape that the problem asks for.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance = {tolerance:g}: must be in (0, 1)")
    # Any number may stand in the fields; with one that is not finite, no comparison holds.
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
