"""Methods that fix the bits by rule: the baselines, and the bit widths of a first round."""

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.allocation import Choice
from fedjax_diffusion.allocation.method import Method
from fedjax_diffusion.allocation.methods.fixed_joint import (
    demand_jointly,
    fixed_bits_jointly,
    largest_jointly,
)
from fedjax_diffusion.allocation.problem import (
    AllocationProblem,
    bit_width_error,
    bit_width_payload,
)
from fedjax_diffusion.allocation.search.time_split import SplitFn, is_deliverable
from fedjax_diffusion.allocation.status import client_status
from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS, bit_width_index
from fedjax_diffusion.types import Array


def fixed_bits(problem: AllocationProblem, split: SplitFn, num_bits: Array) -> Choice:
    """Gives every client ``num_bits``, ignoring demands and budget; only the deadline can fail.

    Args:
      problem: K clients.
      split: not used.
      num_bits: [], 1..16 or 32; may be traced.
    """
    del split
    return fixed_bit_widths(problem, jnp.full(problem.num_clients, bit_width_index(num_bits)))


def demand(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Gives every client the bits that it demands. Ignores ``max_bits`` and the budget."""
    del split
    return fixed_bit_widths(problem, bit_width_index(problem.min_bits))


def largest(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Gives every client its largest bit width that arrives in time, ignoring the error budget.

    For rounds before any range was measured, when the error of a bit width is unknown.
    """
    del split

    usable = list_usable(problem)
    index = len(BIT_WIDTHS) - 1 - jnp.argmax(usable[::-1], axis=0)
    is_delivered = jnp.any(usable, axis=0)
    index = jnp.where(is_delivered, index, bit_width_index(problem.min_bits))
    status = client_status(problem.min_bits <= problem.max_bits, is_delivered)
    return fixed_bit_widths(problem, index)._replace(status=status)


def list_usable(problem: AllocationProblem) -> Array:
    """Returns whether each bit width is within a client's limits and arrives in time, [B, K]."""

    def is_usable(index):
        num_bits = jnp.array(BIT_WIDTHS, jnp.float64)[index]
        payload = bit_width_payload(problem, jnp.full(problem.num_clients, index))
        is_allowed = (problem.min_bits <= num_bits) & (num_bits <= problem.max_bits)
        return is_allowed & is_deliverable(problem, payload)

    return jax.lax.map(is_usable, jnp.arange(len(BIT_WIDTHS)))


def fixed_bit_widths(problem: AllocationProblem, index: Array) -> Choice:
    """Returns the choice of ``BIT_WIDTHS[index]``, int [K]; only the deadline can fail."""
    payload = bit_width_payload(problem, index)
    # Limits do not matter here: an absent client is late because its payload is infinite. (A mask
    # among the statuses would change the order in which the sums over the clients are rounded.)
    is_delivered = is_deliverable(problem, jnp.where(problem.is_present, payload, jnp.inf))
    return Choice(
        num_bits=jnp.array(BIT_WIDTHS, jnp.int32)[index],
        payload=payload,
        error=bit_width_error(problem, index),
        status=client_status(jnp.ones_like(is_delivered), is_delivered),
        smallest_error=jnp.zeros(()),
        multiplier=jnp.zeros(()),
        dual_bound=None,
        residual=jnp.zeros(()),
    )


DEMAND = Method(demand, choose_jointly=demand_jointly)
FIXED_BITS = Method(fixed_bits, takes_bits=True, choose_jointly=fixed_bits_jointly)
FULL_PRECISION = FIXED_BITS._replace(arguments=(FULL_PRECISION_BITS,), takes_bits=False)
LARGEST = Method(largest, choose_jointly=largest_jointly, respects_limits=True)
