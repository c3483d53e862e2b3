"""How one client divides the deadline between computing and uploading, and what that costs.

The best split of ``T`` minimises ``E_cmp(tau) + E_com(T - tau)`` over ``tau`` in ``[C / F, T - S /
r_max]``. Its derivative ``-A(tau) + B(tau)`` grows with ``tau``, where ``A = 2 kappa C^3 / tau^3``
is what a second more of computing saves and ``B = (N0 W / h)(y e^y - e^y + 1)``, ``y = S ln 2 / (W
(T - tau))``, what a second more of sending saves. The root is found on ``log B - log A``, which is
nearly straight where ``B - A`` is exponential.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp

from fedjax_diffusion.resources import costs
from fedjax_diffusion.resources.bisection import newton
from fedjax_diffusion.resources.problem import AllocationProblem
from fedjax_diffusion.types import Array

_LEAST_SHARE = 1e-15
SplitFn: TypeAlias = Callable[[AllocationProblem, Array], Array]
"""``split(problem, payload [K]) -> compute_seconds [K]``; finite, also where it is meaningless."""


class ClientCost(NamedTuple):
    """Time and energy of every client, float64 [K] each, in the units of the names."""

    compute_seconds: Array
    upload_seconds: Array
    transmit_power_watts: Array
    compute_joules: Array
    transmit_joules: Array

    @property
    def total_joules(self) -> Array:
        """Computing and transmitting, [K]."""
        return self.compute_joules + self.transmit_joules


def link(problem: AllocationProblem) -> tuple[Array, ...]:
    """Returns what ``costs`` asks about the link: power limit, gain, bandwidth, noise."""
    return (
        problem.max_power_watts,
        problem.channel_gain,
        problem.bandwidth_hz,
        problem.noise_density_watts_per_hz,
    )


def noise_watts(problem: AllocationProblem) -> Array:
    """Returns ``N0 W / h`` [K], the noise power seen from the transmitter, in watts."""
    return problem.noise_density_watts_per_hz * problem.bandwidth_hz / problem.channel_gain


def time_bracket(problem: AllocationProblem, payload: Array) -> tuple[Array, Array]:
    """Returns the shortest and longest compute time [K], ``C / F`` and ``T - S / r_max``, s.

    The payload is deliverable where the first is not above the second.
    """
    shortest = costs.min_compute_seconds(problem.compute_cycles, problem.max_frequency_hz)
    longest = problem.time_budget_seconds - costs.min_upload_seconds(payload, *link(problem))
    return shortest, longest


def min_time_budget(problem: AllocationProblem, payload: Array) -> Array:
    """Returns the least deadline ``C / F + S / r_max`` at which each payload arrives, s [K]."""
    shortest, longest = time_bracket(problem, payload)
    return shortest + (problem.time_budget_seconds - longest)


def is_deliverable(problem: AllocationProblem, payload: Array) -> Array:
    """Returns bool [K]: at full frequency and full power the payload meets the deadline."""
    shortest, longest = time_bracket(problem, payload)
    return shortest <= longest


def max_frequency_split(problem: AllocationProblem, payload: Array) -> Array:
    """Returns ``tau = C / F``: computes as fast as it can and uploads in the time that is left."""
    return time_bracket(problem, payload)[0]


def optimal_split(problem: AllocationProblem, payload: Array) -> Array:
    """Returns the compute time [K] of least energy, in seconds; a limit exactly where active.

    Newton's method in ``u = log(tau / (T - tau))``, where both shares keep their relative precision
    and the slope lies between 2 and ``3 + y``: about six steps, whatever the scales.
    """
    budget = problem.time_budget_seconds
    shortest, longest = time_bracket(problem, payload)
    longest = jnp.maximum(shortest, longest)
    computing_at_budget, _ = watts_saved(problem, payload, budget)
    nats_at_budget = costs.spectral_nats(budget, payload, *link(problem))
    nats_limit = costs.spectral_nats(0.0 * payload, payload, *link(problem))
    scale = noise_watts(problem) / computing_at_budget

    def log_ratio_and_slope(log_odds):
        odds = jnp.exp(log_odds)
        upload_share = 1.0 / (1.0 + odds)
        compute_share = odds * upload_share
        nats = jnp.minimum(nats_at_budget / upload_share, nats_limit)
        curve, power = costs.power_curve(nats)
        slope = nats * nats * power / curve * compute_share + 3.0 * upload_share
        return jnp.log(scale * curve * compute_share**3), slope

    def to_log_odds(compute_seconds):
        upload_seconds = jnp.maximum(budget - compute_seconds, _LEAST_SHARE * budget)
        return jnp.log(compute_seconds / upload_seconds)

    lower, upper = to_log_odds(shortest), to_log_odds(longest)
    log_odds = newton(log_ratio_and_slope, lower, upper)
    compute_seconds = budget / (1.0 + jnp.exp(-log_odds))
    compute_seconds = jnp.where(log_odds >= upper, longest, compute_seconds)
    return jnp.where(log_odds <= lower, shortest, compute_seconds)


def watts_saved(
    problem: AllocationProblem, payload: Array, compute_seconds: Array
) -> tuple[Array, Array]:
    """Returns A and B [K], joules that one more second of computing, of sending would save."""
    upload_seconds = problem.time_budget_seconds - compute_seconds
    nats = costs.spectral_nats(upload_seconds, payload, *link(problem))
    computing = costs.compute_watts_saved(
        problem.compute_cycles, problem.effective_capacitance, compute_seconds
    )
    return computing, costs.upload_watts_saved(nats, noise_watts(problem))


def split_residual(problem: AllocationProblem, payload: Array, compute_seconds: Array) -> Array:
    """Returns how far each split is from stationary, ``|A - B| / max(A, B)`` [K], in [0, 1].

    At ``C / F`` only ``A > B`` violates the conditions, at ``T - S / r_max`` only ``A < B``, and
    where both meet nothing does.
    """
    shortest, longest = time_bracket(problem, payload)
    computing, sending = watts_saved(problem, payload, compute_seconds)
    excess = (computing - sending) / jnp.maximum(computing, sending)
    excess = jnp.where(compute_seconds <= shortest, jnp.maximum(excess, 0.0), excess)
    excess = jnp.where(compute_seconds >= longest, jnp.minimum(excess, 0.0), excess)
    return jnp.abs(excess)


def client_cost(problem: AllocationProblem, payload: Array, compute_seconds: Array) -> ClientCost:
    """Returns what computing for ``compute_seconds`` [K] and sending ``payload`` [K] by T cost."""
    upload_seconds = problem.time_budget_seconds - compute_seconds
    channel = link(problem)
    power_watts = costs.upload_power(upload_seconds, payload, *channel)
    return ClientCost(
        compute_seconds=compute_seconds,
        upload_seconds=upload_seconds,
        transmit_power_watts=jnp.minimum(power_watts, problem.max_power_watts),
        compute_joules=costs.compute_energy(
            problem.compute_cycles, problem.effective_capacitance, compute_seconds
        ),
        transmit_joules=costs.upload_energy(upload_seconds, payload, *channel),
    )
