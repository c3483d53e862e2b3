"""Division of one client's deadline between computing and uploading, with its energy.

The best split of ``T`` minimizes ``E_cmp(tau) + E_com(T - tau)`` over ``tau`` in ``[C / F, T - S /
r_max]``. Its derivative ``-A(tau) + B(tau)`` grows with ``tau``. Here ``A = 2 kappa C^3 / tau^3``
is the saving of one more second of computing and ``B = (N0 W / h) phi(y)`` that of one more second
of sending, ``phi(y) = y e^y - e^y + 1``, ``y = S ln 2 / (W (T - tau))``. The search finds the root
of ``f = log B - log A`` in ``u = log(tau / (T - tau))``, where both shares keep their relative
precision. With ``s = tau / T`` and ``q = y phi'(y) / phi(y) = y^2 e^y / phi(y)``,

    f' = q s + 3 (1 - s),    f'' = s (q (2 + y - q) s + (q - 3) (1 - s)),

and as ``q >= 2`` and ``0 <= 2 + y - q <= 1``, ``|f''| < f'^2 / 2``.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.search.bisection import halley
from fedjax_diffusion.edge import costs
from fedjax_diffusion.edge.costs import LN2
from fedjax_diffusion.types import Array

LEAST_SHARE = 1e-15
"""Share of the deadline; the least time used as a denominator."""
_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
# A step of this size leaves an error of its cube: the split is exact to rounding.
_EXACT = 1e-5
# Energy is flat at the best split: the square of the remaining error is below rounding.
_EXACT_ENERGY = 5e-3
SplitFn: TypeAlias = Callable[[AllocationProblem, Array], Array]
"""``split(problem, payload [K]) -> compute_seconds [K]``; finite, even where meaningless."""


class ClientCost(NamedTuple):
    """Time and energy of every client, float64 [K] each, in the units of the names."""

    compute_seconds: Array
    upload_seconds: Array
    transmit_power_watts: Array
    compute_joules: Array
    transmit_joules: Array

    @property
    def total_joules(self) -> Array:
        """Energy of computing and transmitting, [K]."""
        return self.compute_joules + self.transmit_joules


def link(problem: AllocationProblem) -> tuple[Array, ...]:
    """Returns the arguments of ``costs`` for the link: power limit, gain, bandwidth, noise."""
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
    """Returns whether the payload meets the deadline at full frequency and power, bool [K]."""
    shortest, longest = time_bracket(problem, payload)
    return shortest <= longest


def max_frequency_split(problem: AllocationProblem, payload: Array) -> Array:
    """Returns ``tau = C / F``: computing at full speed, uploading in the remaining time."""
    return time_bracket(problem, payload)[0]


def optimal_split(problem: AllocationProblem, payload: Array) -> Array:
    """Returns the compute time [K] of least energy, s; equal to a limit exactly if it is active."""
    return _balance(problem, payload, start_path(problem, payload).odds, _EXACT)[0]


class SplitPath(NamedTuple):
    """Splits at the previous payloads, from which the next one is predicted.

    Attributes:
      odds: float64 [K], ``tau / (T - tau)`` at the last payload.
      log_step: float64 [K], the last increase of its logarithm, to third order.
      log_payload: float64 [] or [K], of the last payload, in bits.
      log_payload_step: float64 [] or [K], the last increase of that; never 0.
    """

    odds: Array
    log_step: Array
    log_payload: Array
    log_payload_step: Array


def start_path(problem: AllocationProblem, payload: Array) -> SplitPath:
    """Returns a path that starts at the first payload, from a guess without a search.

    The guess is the smaller of two roots: that for ``phi(y) = y^2 / 2`` with the whole time for the
    upload, and that of ``B = A`` at ``tau = T``. Its slope is that of ``f`` at the guess, where
    ``q`` is ``1 + sqrt(1 + 4 y / 3 + y^2)`` to a few percent.

    Args:
      problem: K clients.
      payload: [] or [K], bits.
    """
    scale, nats_at_budget, nats_limit = _scales(problem, payload)
    at_most = jnp.log1p(jnp.sqrt(2.0 / scale) + 1.0 / scale) / nats_at_budget
    odds = jnp.minimum(jnp.sqrt(2.0 / scale) / nats_at_budget, at_most)
    nats = jnp.minimum(nats_at_budget * (1.0 + odds), nats_limit)
    growth = 1.0 + jnp.sqrt(1.0 + nats * (4.0 / 3.0 + nats))
    log_step = -growth * (1.0 + odds) / (growth * odds + 3.0)
    return SplitPath(odds, log_step, jnp.log(payload), jnp.ones_like(payload))


def follow_split(
    problem: AllocationProblem, split: SplitFn, payload: Array, path: SplitPath
) -> tuple[Array, SplitPath]:
    """Returns the compute time [K] at the next payload of a path, and the path so far.

    For ``optimal_split`` the search starts from the odds extrapolated as a power of the payload,
    which is within a percent. It ends once the energy is exact; the time is then exact to 1e-7. Any
    other split is called directly.

    Args:
      problem: K clients.
      split: divides each client's deadline.
      payload: [] or [K], bits.
      path: from the previous payloads, or from ``start_path``.
    """
    if split is not optimal_split:
        return split(problem, payload), path
    log_payload = jnp.log(payload)
    step = log_payload - path.log_payload
    start = path.odds * jnp.exp(path.log_step * (step / path.log_payload_step))
    seconds, odds = _balance(problem, payload, start, _EXACT_ENERGY)
    root = jnp.sqrt(odds / path.odds)
    log_step = jnp.where(step != 0, 4.0 * (root - 1.0) / (root + 1.0), path.log_step)
    step = jnp.where(step != 0, step, path.log_payload_step)
    return seconds, SplitPath(odds, log_step, log_payload, step)


def _balance(
    problem: AllocationProblem, payload: Array, start: Array, tolerance: float
) -> tuple[Array, Array]:
    """Returns the compute time ``tau`` [K] of least energy, and ``tau / (T - tau)`` [K].

    Args:
      problem: K clients.
      payload: [] or [K], bits.
      start: [K], the initial odds.
      tolerance: of ``f``, at which to stop.
    """
    budget = problem.time_budget_seconds
    shortest, longest = time_bracket(problem, payload)
    scale, nats_at_budget, nats_limit = _scales(problem, payload)

    def nats_at(odds):
        return jnp.minimum(nats_at_budget * (1.0 + odds), nats_limit)

    def ratio_and_slopes(odds):
        upload_share = 1.0 / (1.0 + odds)
        compute_share = odds * upload_share
        nats = nats_at(odds)
        curve, power = costs.power_curve(nats)
        growth = nats * nats * (power / curve)
        slope = growth * compute_share + 3.0 * upload_share
        bend = growth * (2.0 + nats - growth) * compute_share + (growth - 3.0) * upload_share
        return scale * curve * compute_share**3, slope, compute_share * bend

    last = jnp.maximum(shortest, longest)
    lower = shortest / jnp.maximum(budget - shortest, LEAST_SHARE * budget)
    upper = last / jnp.maximum(budget - longest, LEAST_SHARE * budget)
    odds = halley(
        ratio_and_slopes, lambda odds: 3.0 + nats_at(odds), lower, upper, start, tolerance
    )
    seconds = jnp.where(odds >= upper, last, budget * (odds / (1.0 + odds)))
    return jnp.where(odds <= lower, shortest, seconds), odds


def _scales(problem: AllocationProblem, payload: Array) -> tuple[Array, Array, Array]:
    """Returns ``(N0 W / h) / A(T)``, ``y`` if all time is for the upload, and the largest y."""
    budget = problem.time_budget_seconds
    computing_at_budget, _ = watts_saved(problem, payload, budget)
    nats_per_bps = LN2 / problem.bandwidth_hz
    nats_limit = costs.rate(*link(problem)) * nats_per_bps
    return noise_watts(problem) / computing_at_budget, payload * (nats_per_bps / budget), nats_limit


def watts_saved(
    problem: AllocationProblem, payload: Array, compute_seconds: Array
) -> tuple[Array, Array]:
    """Returns A and B [K], the joules saved by one more second of computing and of sending."""
    upload_seconds = problem.time_budget_seconds - compute_seconds
    nats = costs.spectral_nats(upload_seconds, payload, *link(problem))
    computing = costs.compute_watts_saved(
        problem.compute_cycles, problem.effective_capacitance, compute_seconds
    )
    return computing, costs.upload_watts_saved(nats, noise_watts(problem))


def split_residual(problem: AllocationProblem, payload: Array, compute_seconds: Array) -> Array:
    """Returns the stationarity violation of each split, ``|A - B| / max(A, B)`` [K], in [0, 1].

    The effect of rounding is subtracted: it moves ``tau`` by a few units in the last place of
    ``T``, which matters if one of the two shares is very small. At ``C / F`` only ``A > B``
    violates the conditions, at ``T - S / r_max`` only ``A < B``, and if both coincide nothing does.
    """
    shortest, longest = time_bracket(problem, payload)
    computing, sending = watts_saved(problem, payload, compute_seconds)
    excess = (computing - sending) / jnp.maximum(computing, sending)
    excess = jnp.where(compute_seconds <= shortest, jnp.maximum(excess, 0.0), excess)
    excess = jnp.where(compute_seconds >= longest, jnp.minimum(excess, 0.0), excess)
    budget = problem.time_budget_seconds
    upload_seconds = jnp.maximum(budget - compute_seconds, LEAST_SHARE * budget)
    # A changes by 3 d tau / tau, and B by at most (2 + y) d tau / t.
    nats = costs.spectral_nats(upload_seconds, payload, *link(problem))
    slopes = budget * (3.0 / compute_seconds + (2.0 + nats) / upload_seconds)
    return jnp.maximum(jnp.abs(excess) - _ROUNDING * slopes, 0.0)


def client_cost(problem: AllocationProblem, payload: Array, compute_seconds: Array) -> ClientCost:
    """Returns the cost of computing for ``compute_seconds`` [K] and sending ``payload`` by T."""
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
