"""Costs of other methods for the clients that participate in a round."""

from collections.abc import Iterable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.allocation import Allocation, AllocationProblem, RoundFacts
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.problem import bit_width_payload
from fedjax_diffusion.allocation.search.time_split import link
from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.bits import BIT_WIDTHS, UNIFORM_ERROR_CURVE, bit_width_index
from fedjax_diffusion.edge import costs
from fedjax_diffusion.planning.solver import DIRECT, Solver
from fedjax_diffusion.types import Array

REFERENCE_BASELINES = ("full_precision", "full_precision:max_frequency")
"""The two baselines to which every saving refers."""


@dataclass(frozen=True)
class Baseline:
    """Cost of a method for the clients that participate in this run's round.

    Attributes:
      compute_joules: float64 [M], 0 for clients that do not participate.
      transmit_joules: float64 [M].
      uplink_bits: float64 [M], whole numbers.
      is_late: bool [M], charged at full frequency and full power.
      num_bits: int32 [M], bits sent on time or late; 0 for clients that do not participate.
      error: squared error of these bits, summed over the clients, by the predicted ranges.
      relative_gap: of the method's own allocation, in [0, 1].
    """

    compute_joules: np.ndarray
    transmit_joules: np.ndarray
    uplink_bits: np.ndarray
    is_late: np.ndarray
    num_bits: np.ndarray
    error: float
    relative_gap: float


def charge_baselines(
    problem: AllocationProblem,
    allocation: Allocation,
    methods: Iterable[str],
    facts: RoundFacts | None = None,
    solver: Solver = DIRECT,
) -> dict[str, Baseline]:
    """Charges every baseline for exactly the clients that participate in this run's round.

    Args:
      problem: the round, M clients; clients left out are not present.
      allocation: this run's allocation for it.
      methods: of ``allocate``, with whole bits.
      facts: of the round, as in ``allocate``.
      solver: answers the call to the allocator.

    Returns:
      ``Baseline`` by method.
    """
    methods = tuple(methods)
    if not methods:
        return {}
    is_participating = np.asarray(allocation.num_bits) > 0
    answers = solver.allocate_each(problem, methods, facts)
    *full_speed_joules, payload = _price_full_speed(problem, answers.requested_bits)
    compute_joules, transmit_joules, is_late = _replace_late(answers, *full_speed_joules)
    all_bits = np.where(is_participating, answers.requested_bits, 0)
    all_uplink_bits = np.where(all_bits > 0, payload, 0.0)
    all_errors = planned_errors(problem, all_bits).sum(axis=-1)
    return {
        method: Baseline(
            compute_joules=np.where(is_participating, compute_joules[n], 0.0),
            transmit_joules=np.where(is_participating, transmit_joules[n], 0.0),
            uplink_bits=all_uplink_bits[n],
            is_late=is_participating & is_late[n],
            num_bits=all_bits[n],
            error=float(all_errors[n]),
            relative_gap=float(answers.relative_gap[n]),
        )
        for n, method in enumerate(methods)
    }


def planned_errors(problem: AllocationProblem, num_bits: np.ndarray) -> np.ndarray:
    """Returns each client's term of the squared error, float64 [..., M]; 0 at 0 bits.

    Args:
      problem: M clients.
      num_bits: int [..., M], 0, 1..16 or 32.
    """
    index = np.clip(num_bits, 1, len(BIT_WIDTHS)).astype(int) - 1
    table = problem.bit_width_error
    if table is None:
        table = np.outer(problem.error_weight, UNIFORM_ERROR_CURVE)
    error = np.asarray(table)[np.arange(problem.num_clients), index]
    return np.where(num_bits > 0, error, 0.0)


def charge_late(
    problem: AllocationProblem, allocation: Allocation
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a baseline's energy for every client; late ones run at full frequency and power.

    A late client is charged ``kappa C F^2 + P S / r_max``: an infeasible baseline must not look
    free. The same holds for a client that a baseline leaves out for another reason, as
    ``on_demand`` may. A late client uses its own ``bandwidth_hz``, even if the baseline's clients
    share the band: its share would be undefined.

    Args:
      problem: K clients.
      allocation: a baseline's allocation for it, or those of several, with a leading [N].

    Returns:
      ``(compute_joules, transmit_joules, is_late)``: float64 [..., K], float64 [..., K], bool
      [..., K]. Always finite; those of the allocation for a client on time.
    """
    compute_joules, transmit_joules, _ = _price_full_speed(problem, allocation.requested_bits)
    return _replace_late(allocation, compute_joules, transmit_joules)


def _replace_late(
    allocation: Allocation, compute_joules: Array, transmit_joules: Array
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the allocation's joules with these in the place of late clients', and who is late."""
    is_late = np.asarray(allocation.status) != Status.OPTIMAL
    return (
        np.where(is_late, compute_joules, allocation.compute_joules),
        np.where(is_late, transmit_joules, allocation.transmit_joules),
        is_late,
    )


@float64_on_cpu
def _price_full_speed(problem: AllocationProblem, num_bits: Array) -> tuple[Array, Array, Array]:
    """Returns the joules of full frequency and of full power, and the payload in bits, [..., K]."""

    def price(bits: Array) -> tuple[Array, Array, Array]:
        payload = bit_width_payload(problem, bit_width_index(bits))
        seconds = costs.min_compute_seconds(problem.compute_cycles, problem.max_frequency_hz)
        compute_joules = costs.compute_energy(
            problem.compute_cycles, problem.effective_capacitance, seconds
        )
        upload_seconds = costs.min_upload_seconds(payload, *link(problem))
        return compute_joules, problem.max_power_watts * upload_seconds, payload

    return jnp.vectorize(price, signature="(k)->(k),(k),(k)")(num_bits)
