"""Requirements of given bits in a shared band: hertz per client, and the least deadline."""

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.allocation.band.shared_band import total_bandwidth
from fedjax_diffusion.allocation.band.split import least_bandwidth
from fedjax_diffusion.allocation.float64 import float64_on_cpu
from fedjax_diffusion.allocation.problem import (
    AllocationProblem,
    bit_width_payload,
    with_leaves,
)
from fedjax_diffusion.allocation.search.bisection import bisect
from fedjax_diffusion.allocation.search.time_split import min_time_budget
from fedjax_diffusion.bits import bit_width_index
from fedjax_diffusion.types import Array

_NUM_HALVINGS = 60


@float64_on_cpu
def least_bandwidth_hz(problem: AllocationProblem, num_bits: Array | np.ndarray) -> Array:
    """Returns the least band over which each client delivers, float64 [K], Hz.

    Infinite if no band is wide enough, 0 at 0 bits.

    Args:
      problem: K clients; their ``bandwidth_hz`` are not used.
      num_bits: [K], 0, 1..16 or 32: the ``requested_bits`` of an allocation.
    """
    payload = bit_width_payload(problem, bit_width_index(jnp.maximum(num_bits, 1)))
    return jnp.where(num_bits > 0, least_bandwidth(problem, payload), 0.0)


@float64_on_cpu
def shared_time_budget(
    problem: AllocationProblem, num_bits: Array | np.ndarray, is_active: np.ndarray
) -> Array:
    """Returns the smallest deadline [], s, by which clients deliver together over one band.

    Args:
      problem: K clients, which share the sum of their ``bandwidth_hz`` and miss the deadline.
      num_bits: [K], 1..16 or 32.
      is_active: bool [K], the participating clients; at least one.
    """
    payload = bit_width_payload(problem, bit_width_index(jnp.asarray(num_bits)))
    total_hz = total_bandwidth(problem)
    even_hz = jnp.full_like(payload, total_hz / jnp.sum(is_active))
    enough = min_time_budget(with_leaves(problem, bandwidth_hz=even_hz), payload)

    def spare(seconds):
        least_hz = least_bandwidth(with_leaves(problem, time_budget_seconds=seconds), payload)
        return total_hz - jnp.sum(jnp.where(is_active, least_hz, 0.0))

    longest = jnp.max(jnp.where(is_active, enough, problem.time_budget_seconds))
    return bisect(spare, problem.time_budget_seconds, longest, _NUM_HALVINGS)[1]
