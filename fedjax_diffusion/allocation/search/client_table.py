"""Energy and error of every client at every bit width, each with its best split of the deadline."""

import jax
import jax.numpy as jnp

from fedjax_diffusion.allocation.problem import (
    AllocationProblem,
    bit_width_error,
    bit_width_payload,
)
from fedjax_diffusion.allocation.search.multiplier import BitWidthTable, argmin_bit_width, pick
from fedjax_diffusion.allocation.search.time_split import (
    SplitFn,
    client_cost,
    follow_split,
    is_deliverable,
    start_path,
)
from fedjax_diffusion.allocation.status import client_status
from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.types import Array


def client_table(problem: AllocationProblem, split: SplitFn) -> tuple[BitWidthTable, Array]:
    """Returns the table [B, K] of energies and errors, and the clients' status, int32 [K].

    A client that cannot participate has one bit width, of no energy and no error.

    Args:
      problem: K clients.
      split: divides each client's deadline at a given payload.
    """

    def split_row(path, payload):
        compute_seconds, path = follow_split(problem, split, payload, path)
        return path, compute_seconds

    def bit_width_row(index, payload, compute_seconds):
        num_bits = jnp.array(BIT_WIDTHS, jnp.float64)[index]
        is_allowed = (problem.min_bits <= num_bits) & (num_bits <= problem.max_bits)
        is_usable = is_allowed & is_deliverable(problem, payload)
        cost = client_cost(problem, payload, compute_seconds)
        energy = jnp.where(is_usable, cost.total_joules, jnp.inf)
        return energy, jnp.where(is_usable, _error_at(problem, index), 0.0)

    # One bit width after another: each split starts from the previous ones.
    payloads = _payloads(problem)
    _, compute_seconds = jax.lax.scan(split_row, start_path(problem, payloads[0]), payloads)
    energy, error = jax.vmap(bit_width_row)(jnp.arange(len(BIT_WIDTHS)), payloads, compute_seconds)
    is_delivered = jnp.isfinite(pick(energy, argmin_bit_width(energy)))
    status = client_status(problem.min_bits <= problem.max_bits, is_delivered)
    stand_in = jnp.where(is_delivered, energy[0], 0.0)
    return BitWidthTable(energy.at[0].set(stand_in), error), status


def _payloads(problem: AllocationProblem) -> Array:
    """Returns the payload of every bit width, [B] if equal for all clients, else [B, K]."""
    if problem.bit_width_payload_bits is not None:
        return problem.bit_width_payload_bits.T
    return bit_width_payload(problem, jnp.arange(len(BIT_WIDTHS)))


def _error_at(problem: AllocationProblem, index: Array) -> Array:
    """Returns every client's term of the squared error [K] at one bit width."""
    table = problem.bit_width_error
    return bit_width_error(problem, index) if table is None else table[:, index]
