"""The relaxed problem: real bits, convex, solved to its KKT conditions.

With ``theta = 1 / (2^b - 1)^2`` every client's energy is convex in its theta and the error is
linear, so one multiplier separates the clients: client k's bits solve ``e_k'(b) = lambda c_k
|theta'(b)|``, clipped to its limits, and lambda is where the error meets the budget. The energy is
a lower bound on that of integer bits. (The variables theta and pi = tau / T of the paper's P3 are
named there only; this reading of them is the project's own.)
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.resources.allocation import ERROR_SLACK, Choice
from fedjax_diffusion.resources.bisection import bisect
from fedjax_diffusion.resources.costs import spectral_nats
from fedjax_diffusion.resources.problem import FULL_PRECISION_BITS, AllocationProblem
from fedjax_diffusion.resources.status import Status, client_status, meet_budget
from fedjax_diffusion.resources.time_split import (
    SplitFn,
    client_cost,
    is_deliverable,
    link,
    max_frequency_split,
    time_bracket,
    watts_saved,
)
from fedjax_diffusion.types import Array

_LN2 = float(np.log(2.0))
_NUM_HALVINGS = 64
_TINY, _HUGE = 1e-300, 1e300


def relaxed(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Chooses real bits in ``[min_bits, max_bits]``.

    The payload is ``d b`` plus the least overhead that any level has, so that nothing here costs
    more than a level.

    Args:
      problem: K clients, without tables per level.
      split: how each client divides the deadline at a given payload.

    Raises:
      ValueError: the problem has tables per level, between which there is nothing.
    """
    if problem.level_payload_bits is not None or problem.level_error is not None:
        raise ValueError("relaxed: level_payload_bits and level_error must be None")
    status = client_status(
        problem.min_bits <= problem.max_bits,
        is_deliverable(problem, _payload(problem, problem.min_bits)),
    )
    limits = _Limits(problem.min_bits, _largest_bits(problem), status == Status.OPTIMAL)
    num_bits, multiplier = _solve(problem, split, limits)
    error = limits.total(_error(problem, num_bits))
    smallest_error = limits.total(_error(problem, limits.upper))
    payload = _payload(problem, num_bits)
    energy = limits.total(client_cost(problem, payload, split(problem, payload)).total_joules)
    violation = _bits_residual(problem, split, num_bits, limits, multiplier)
    return Choice(
        num_bits=num_bits,
        payload=payload,
        error=_error(problem, num_bits),
        status=meet_budget(status, smallest_error, problem.error_budget * (1.0 + ERROR_SLACK)),
        smallest_error=smallest_error,
        multiplier=multiplier,
        dual_bound=energy
        + jnp.where(multiplier > 0, multiplier * (error - problem.error_budget), 0.0),
        residual=jnp.maximum(
            jnp.max(jnp.where(limits.is_active, violation, 0.0)),
            _budget_residual(error, problem.error_budget, multiplier),
        ),
    )


class _Limits(NamedTuple):
    """Between which bits [K] each client may choose, and who chooses at all."""

    lower: Array
    upper: Array
    is_active: Array

    def total(self, per_client: Array) -> Array:
        """Returns the sum over the clients that take part."""
        return jnp.sum(jnp.where(self.is_active, per_client, 0.0))


def _solve(problem: AllocationProblem, split: SplitFn, limits: _Limits) -> tuple[Array, Array]:
    """Returns the bits [K] and the multiplier [] at which the error meets the budget."""
    budget = problem.error_budget

    def bits_at(log_multiplier):
        def excess(num_bits):
            gain = jnp.exp(log_multiplier) * _error_saved(problem, num_bits)
            return _energy_added(problem, split, num_bits) - gain

        return bisect(excess, limits.lower, limits.upper, _NUM_HALVINGS)[1]

    log_multiplier = bisect(
        lambda x: budget - limits.total(_error(problem, bits_at(x))),
        *_log_bracket(problem, split, limits),
        _NUM_HALVINGS,
    )[1]
    is_free = limits.total(_error(problem, limits.lower)) <= budget
    num_bits = jnp.where(is_free, limits.lower, bits_at(log_multiplier))
    return num_bits, jnp.where(is_free, 0.0, jnp.exp(log_multiplier))


def _payload(problem: AllocationProblem, num_bits: Array) -> Array:
    return problem.num_parameters * num_bits + jnp.min(problem.overhead_bits)


def _largest_bits(problem: AllocationProblem) -> Array:
    """Returns the most bits [K] that arrive in time, clipped to ``[min_bits, max_bits]``."""
    payload = _payload(problem, problem.max_bits)
    shortest, longest = time_bracket(problem, payload)
    seconds_per_bit = (problem.time_budget_seconds - longest) / payload
    room = (problem.time_budget_seconds - shortest) / seconds_per_bit
    deliverable = (room - jnp.min(problem.overhead_bits)) / problem.num_parameters
    return jnp.maximum(jnp.minimum(deliverable, problem.max_bits), problem.min_bits)


def _error(problem: AllocationProblem, num_bits: Array) -> Array:
    """Returns ``c theta(b)`` [K], shifted to reach 0 at 32 bits for clients that may send them."""
    is_exact = problem.max_bits == FULL_PRECISION_BITS
    at_full_precision = 1.0 / jnp.square(jnp.exp2(float(FULL_PRECISION_BITS)) - 1.0)
    floor = jnp.where(is_exact, at_full_precision, 0.0)
    return problem.error_weight * (1.0 / jnp.square(jnp.exp2(num_bits) - 1.0) - floor)


def _error_saved(problem: AllocationProblem, num_bits: Array) -> Array:
    """Returns ``-c dtheta / db = 2 ln 2 c 2^b / (2^b - 1)^3`` [K]."""
    power = jnp.exp2(num_bits)
    return 2.0 * _LN2 * problem.error_weight * power / (power - 1.0) ** 3


def _energy_added(problem: AllocationProblem, split: SplitFn, num_bits: Array) -> Array:
    """Returns ``de / db`` [K] at the split's compute time, by the envelope theorem.

    ``d (N0 ln 2 / h) 2^x``, and where the power limit sets the compute time, what giving way to the
    upload costs.
    """
    payload = _payload(problem, num_bits)
    compute_seconds = split(problem, payload)
    upload_seconds = problem.time_budget_seconds - compute_seconds
    nats = spectral_nats(upload_seconds, payload, *link(problem))
    added = problem.noise_density_watts_per_hz / problem.channel_gain * _LN2 * jnp.exp(nats)
    if split is not max_frequency_split:
        longest = time_bracket(problem, payload)[1]
        computing, sending = watts_saved(problem, payload, compute_seconds)
        seconds_per_bit = (problem.time_budget_seconds - longest) / payload
        pressure = jnp.where(compute_seconds >= longest, jnp.maximum(computing - sending, 0.0), 0.0)
        added = added + pressure * seconds_per_bit
    return problem.num_parameters * added


def _log_bracket(
    problem: AllocationProblem, split: SplitFn, limits: _Limits
) -> tuple[Array, Array]:
    """Returns logs of multipliers at which all clients are at their lower, and upper limits."""
    is_priced = limits.is_active & (problem.error_weight > 0)

    def prices(num_bits):
        saved = jnp.where(is_priced, _error_saved(problem, num_bits), 1.0)
        return _energy_added(problem, split, num_bits) / saved

    lowest = jnp.min(jnp.where(is_priced, prices(limits.lower), jnp.inf))
    highest = jnp.max(jnp.where(is_priced, prices(limits.upper), 0.0))
    return jnp.log(jnp.clip(lowest, _TINY, _HUGE)) - 1.0, jnp.log(
        jnp.clip(highest, _TINY, _HUGE)
    ) + 1.0


def _bits_residual(
    problem: AllocationProblem,
    split: SplitFn,
    num_bits: Array,
    limits: _Limits,
    multiplier: Array,
) -> Array:
    """Returns the relative violation [K] of ``e'(b) = lambda c |theta'(b)|``, limits heeded."""
    added = _energy_added(problem, split, num_bits)
    saved = multiplier * _error_saved(problem, num_bits)
    excess = (added - saved) / jnp.maximum(added, saved)
    excess = jnp.where(num_bits <= limits.lower, jnp.minimum(excess, 0.0), excess)
    excess = jnp.where(num_bits >= limits.upper, jnp.maximum(excess, 0.0), excess)
    return jnp.abs(excess)


def _budget_residual(error: Array, budget: Array, multiplier: Array) -> Array:
    """Returns the relative violation [] of ``error <= eps``; of equality if lambda > 0."""
    is_finite = jnp.isfinite(budget) & (budget > 0)
    excess = jnp.where(is_finite, (error - budget) / jnp.where(is_finite, budget, 1.0), 0.0)
    return jnp.where(multiplier > 0, jnp.abs(excess), jnp.maximum(excess, 0.0))
