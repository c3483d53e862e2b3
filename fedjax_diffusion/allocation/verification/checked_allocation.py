"""Claims of an allocation next to the recomputed values for the same bits, bands and times."""

import numpy as np
from numpy.typing import ArrayLike

from fedjax_diffusion.allocation.allocation import Allocation
from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.allocation.verification.recomputation import Recomputation
from fedjax_diffusion.allocation.verification.violations import Findings

ZERO_IF_LEFT_OUT = (
    "num_bits",
    "bandwidth_hz",
    "compute_seconds",
    "upload_seconds",
    "transmit_power_watts",
    "compute_joules",
    "transmit_joules",
)
NOT_NEGATIVE = ("multiplier", "bandwidth_price", "kkt_residual")
_PER_CLIENT = (*ZERO_IF_LEFT_OUT, "requested_bits", "status")
_SCALARS = ("error", "dual_bound_joules", "relative_gap", "is_band_shared", *NOT_NEGATIVE)


class Claim:
    """An allocation to be checked.

    Args:
      problem: K clients.
      allocation: of these clients; only its fields are read.
      respects_limits: whether its bits must be within ``min_bits`` and ``max_bits``.
      respects_budget: whether its error must be within the budget.
      tolerance: relative, of every comparison.

    Attributes:
      fields: the allocation's fields by name, with ``status``.
      is_active: bool [K], the participating clients.
      is_real: whether the bits are real numbers, not bit widths.
      is_shared: whether the clients share the sum of the problem's bands.
      claimed: the clients with the bands of the allocation.
      offered: the clients with the largest possible band each: their own, or if shared the sum.
      findings: the violations so far.

    Raises:
      ValueError: a field does not have the shape that the problem implies.
    """

    def __init__(
        self,
        problem: AllocationProblem,
        allocation: Allocation,
        *,
        respects_limits: bool,
        respects_budget: bool,
        tolerance: float,
    ):
        self.problem, self.respects_limits, self.respects_budget = (
            problem,
            respects_limits,
            respects_budget,
        )
        self.tolerance, self.findings = tolerance, Findings(tolerance)
        num_clients = problem.num_clients
        self.fields = {name: _read(allocation, name, (num_clients,)) for name in _PER_CLIENT}
        self.fields |= {name: _read(allocation, name, ()) for name in _SCALARS}
        self.status = self.fields["status"]
        self.is_active = self.status == Status.OPTIMAL
        has_tables = (
            problem.bit_width_payload_bits is not None or problem.bit_width_error is not None
        )
        self.is_real = np.issubdtype(self.fields["num_bits"].dtype, np.floating) and not has_tables
        self.is_shared = bool(self.fields["is_band_shared"])
        self.claimed = self._on_bands(self.fields["bandwidth_hz"])
        self.offered = self._on_bands(problem.bandwidth_hz)
        if self.is_shared:
            whole_hz = np.full(num_clients, np.sum(problem.bandwidth_hz))
            self.offered = self._on_bands(whole_hz, self.price("bandwidth_price"))

    def price(self, name: str) -> float:
        """Returns a multiplier, or 0 if its value is invalid; any multiplier >= 0 gives a bound."""
        value = float(self.fields[name])
        return value if 0 <= value < np.inf else 0.0

    def total(self, per_client: np.ndarray) -> float:
        """Returns the sum over the participating clients."""
        return float(np.sum(per_client[self.is_active]))

    def require(
        self,
        name: str,
        is_right: ArrayLike,
        must: str,
        expected: ArrayLike = 0.0,
        where: ArrayLike = True,
    ) -> None:
        """Records every entry of a field that is wrong, within ``where``; see ``Findings``."""
        is_fine = np.asarray(is_right) | ~np.asarray(where)
        self.findings.require(name, self.fields[name], is_fine, must, expected)

    def _on_bands(self, bandwidth_hz: np.ndarray, band_price: float | None = None) -> Recomputation:
        return Recomputation(
            self.problem,
            bandwidth_hz,
            is_real=self.is_real,
            respects_limits=self.respects_limits,
            band_price=band_price,
        )


def _read(allocation: Allocation, name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(getattr(allocation, name))
    if values.shape != shape:
        raise ValueError(f"allocation.{name} has shape {values.shape}: must be {shape}")
    return values
