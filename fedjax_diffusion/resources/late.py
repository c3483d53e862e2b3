"""What an allocation uploads, and what a late opponent is charged."""

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.resources import costs
from fedjax_diffusion.resources.allocation import Allocation
from fedjax_diffusion.resources.float64 import float64_on_cpu
from fedjax_diffusion.resources.problem import AllocationProblem, level_index, level_payload
from fedjax_diffusion.resources.search.time_split import link
from fedjax_diffusion.resources.status import Status
from fedjax_diffusion.types import Array


@float64_on_cpu
def uplink_bits(problem: AllocationProblem, num_bits: Array | np.ndarray) -> Array:
    """Returns the bits that each client uploads, float64 [K] whole numbers; 0 at 0 bits.

    Args:
      problem: K clients.
      num_bits: int32 [K], 0, 1..16 or 32: the ``num_bits`` of an allocation, or its
        ``requested_bits``.
    """
    payload = level_payload(problem, level_index(jnp.maximum(num_bits, 1)))
    return jnp.where(num_bits > 0, payload, 0.0)


def charge_late(
    problem: AllocationProblem, allocation: Allocation
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Charges an opponent for every client, also for those that it cannot bring home in time.

    A late client is charged its cost at full frequency and full power, ``kappa C F^2 + P S /
    r_max``: an infeasible opponent must not look free. So is a client that an opponent leaves out
    for another reason, as ``on_demand`` may. Also of an opponent whose clients share the band, a
    late client is charged on its own ``bandwidth_hz``: what the others leave it is not defined.

    Args:
      problem: K clients.
      allocation: an opponent's answer to it.

    Returns:
      ``(compute_joules, transmit_joules, is_late)``: float64 [K], float64 [K], bool [K]. Always
      finite; those of the allocation itself where the client is on time.
    """
    compute_joules, transmit_joules = _full_speed_joules(problem, allocation.requested_bits)
    is_late = np.asarray(allocation.status) != Status.OPTIMAL
    return (
        np.where(is_late, compute_joules, allocation.compute_joules),
        np.where(is_late, transmit_joules, allocation.transmit_joules),
        is_late,
    )


@float64_on_cpu
def _full_speed_joules(problem: AllocationProblem, num_bits: Array) -> tuple[Array, Array]:
    """Returns the joules [K] of computing at full frequency and of sending at full power."""
    payload = level_payload(problem, level_index(num_bits))
    compute_seconds = costs.min_compute_seconds(problem.compute_cycles, problem.max_frequency_hz)
    compute_joules = costs.compute_energy(
        problem.compute_cycles, problem.effective_capacitance, compute_seconds
    )
    upload_seconds = costs.min_upload_seconds(payload, *link(problem))
    return compute_joules, problem.max_power_watts * upload_seconds
