"""Solution of an allocation problem, with its optimality certificate and its explanation."""

from collections.abc import Callable
from typing import NamedTuple

import flax.struct
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.allocation.explanation import explain
from fedjax_diffusion.allocation.problem import AllocationProblem, with_leaves
from fedjax_diffusion.allocation.search.time_split import (
    SplitFn,
    client_cost,
    optimal_split,
    split_residual,
)
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.types import Array

_NEAR = 1e-9
ERROR_SLACK = 1e-12
"""Relative rounding slack of the error budget: a sum in another order still meets it."""


class Choice(NamedTuple):
    """Decision of a method; the rest of the allocation follows from it.

    Attributes:
      num_bits: [K], the chosen bit width, also of an infeasible client; int32, float64 if real.
      payload: float64 [K], bits to send at that bit width.
      error: float64 [K], the client's term of the squared error at that bit width.
      status: int32 [K].
      smallest_error: float64 [], the least total error within the method's reach.
      multiplier: float64 [], lambda >= 0.
      dual_bound: float64 [], joules; None takes the energy of the best split of the same bits.
      residual: float64 [], relative KKT residual in the bits, in lambda and in the bands.
      bandwidth_hz: float64 [K], shares of one band; None if each client has its own band.
      bandwidth_price: float64 [], mu >= 0, joules per hertz of the shared band.
      compute_seconds: float64 [K], compute times of a method that sets them; None takes the split.
    """

    num_bits: Array
    payload: Array
    error: Array
    status: Array
    smallest_error: Array
    multiplier: Array
    dual_bound: Array | None
    residual: Array
    bandwidth_hz: Array | None = None
    bandwidth_price: Array | float = 0.0
    compute_seconds: Array | None = None


ChooseFn = Callable[..., Choice]
"""``choose(problem, split, *arguments) -> Choice``, pure and jittable."""


@flax.struct.dataclass
class Allocation:
    """Bits, times and transmit power of every client, with an optimality certificate.

    A client whose status is not OPTIMAL does not participate: all its fields but ``status`` and
    ``requested_bits`` are zero.

    Attributes:
      num_bits: int32 [K] (float64 from the method "relaxed"), 1..16, 32, or 0.
      bandwidth_hz: float64 [K], the client's band, Hz: the problem's, or with ":joint_bandwidth"
        its share of the problem's total, which the shares together do not exceed.
      compute_seconds: float64 [K], tau, s.
      upload_seconds: float64 [K], t, s; the two add up to the deadline.
      transmit_power_watts: float64 [K], p, W.
      compute_joules: float64 [K].
      transmit_joules: float64 [K].
      status: int32 [K], a ``Status``.
      requested_bits: like ``num_bits``, the requested bit width, also of infeasible clients.
      error: float64 [], the sum of the participating clients' squared errors. Where the budget
        cannot be met: the least possible sum.
      dual_bound_joules: float64 [], a lower bound on the energy of any bits and splits within the
        limits. For methods that fix the bits ("demand", "fixed_bits", "full_precision",
        "largest"): on the energy of those bits.
      relative_gap: float64 [] in [0, 1], (energy - dual bound) / energy; 0 where nobody
        participates.
      multiplier: float64 [], lambda, joules per unit of squared error.
      bandwidth_price: float64 [], mu, joules per hertz; with lambda it certifies the dual bound. 0
        if no band is shared.
      is_band_shared: bool [], whether the clients share the sum of the problem's bands.
      kkt_residual: float64 [], the largest relative violation of the KKT conditions in the chosen
        variables: tau, for "relaxed" also the bits and the budget, for a shared band also the
        shares and their sum.
    """

    num_bits: Array
    bandwidth_hz: Array
    compute_seconds: Array
    upload_seconds: Array
    transmit_power_watts: Array
    compute_joules: Array
    transmit_joules: Array
    status: Array
    requested_bits: Array
    error: Array
    dual_bound_joules: Array
    relative_gap: Array
    multiplier: Array
    bandwidth_price: Array
    is_band_shared: Array
    kkt_residual: Array

    @property
    def total_joules(self) -> float:
        """Energy of computing and transmitting, summed over the clients, joules."""
        return float(np.sum(self.compute_joules) + np.sum(self.transmit_joules))

    def active_limits(self, problem: AllocationProblem) -> dict[str, np.ndarray]:
        """Returns the active limits of each client, bool [K] by the name of the problem's field.

        Args:
          problem: the problem that this allocation solves.
        """
        is_active = np.asarray(self.status) == Status.OPTIMAL
        shortest = problem.compute_cycles / problem.max_frequency_hz
        return {
            "max_frequency_hz": is_active & (self.compute_seconds <= shortest * (1 + _NEAR)),
            "max_power_watts": is_active
            & (self.transmit_power_watts >= problem.max_power_watts * (1 - _NEAR)),
            "min_bits": is_active & (self.num_bits <= problem.min_bits),
            "max_bits": is_active & (self.num_bits >= problem.max_bits),
        }

    def explain(self, problem: AllocationProblem, respects_budget: bool = True) -> list[str]:
        """Returns one line per cause of infeasibility, with the least change that removes it.

        Args:
          problem: the problem that this allocation solves.
          respects_budget: whether its method keeps to the error budget, as "on_demand" and
            "relaxed" do; without, no deadline is named at which the budget holds.

        Returns:
          The lines; none if nothing is infeasible.
        """
        return explain(
            problem,
            self.status,
            self.requested_bits,
            self.error,
            bool(self.is_band_shared),
            respects_budget,
        )


def assemble(problem: AllocationProblem, choice: Choice, split: SplitFn) -> Allocation:
    """Returns the allocation that follows from a choice of bits and a way to split the time.

    Args:
      problem: K clients.
      choice: the decision of a method.
      split: how each client divides the deadline.
    """
    is_active = choice.status == Status.OPTIMAL
    if choice.bandwidth_hz is not None:
        problem = with_leaves(problem, bandwidth_hz=choice.bandwidth_hz)
    is_best = split is optimal_split and choice.compute_seconds is None
    compute_seconds = choice.compute_seconds
    if compute_seconds is None:
        compute_seconds = split(problem, choice.payload)
    cost = client_cost(problem, choice.payload, compute_seconds)

    def total(per_client):
        return jnp.sum(jnp.where(is_active, per_client, 0.0))

    energy = total(cost.total_joules)
    bound, residual = choice.dual_bound, choice.residual
    if bound is None and is_best:
        bound = energy
    elif bound is None:
        best_seconds = optimal_split(problem, choice.payload)
        bound = total(client_cost(problem, choice.payload, best_seconds).total_joules)
    if is_best:
        split_violation = split_residual(problem, choice.payload, compute_seconds)
        residual = jnp.maximum(residual, jnp.max(jnp.where(is_active, split_violation, 0.0)))
    is_any = jnp.any(is_active)
    # Rounded down by the largest rounding error of a sum over the clients, in any order.
    rounding = problem.num_clients * jnp.finfo(energy.dtype).eps
    bound = jnp.where(is_any, jnp.clip(bound, 0.0, energy) * (1.0 - rounding), 0.0)
    is_over_budget = jnp.any(choice.status == Status.INFEASIBLE_ERROR)
    per_client = {name: jnp.where(is_active, value, 0.0) for name, value in cost._asdict().items()}
    return Allocation(
        num_bits=jnp.where(is_active, choice.num_bits, jnp.zeros_like(choice.num_bits)),
        bandwidth_hz=jnp.where(is_active, problem.bandwidth_hz, 0.0),
        **per_client,
        status=choice.status,
        requested_bits=choice.num_bits,
        error=jnp.where(is_over_budget, choice.smallest_error, total(choice.error)),
        dual_bound_joules=bound,
        relative_gap=jnp.where(is_any, (energy - bound) / jnp.where(is_any, energy, 1.0), 0.0),
        multiplier=jnp.where(is_any, choice.multiplier, 0.0),
        bandwidth_price=jnp.where(is_any, choice.bandwidth_price, 0.0),
        is_band_shared=jnp.array(choice.bandwidth_hz is not None),
        kkt_residual=jnp.where(is_any, residual, 0.0),
    )
