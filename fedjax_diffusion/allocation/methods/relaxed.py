"""Relaxed problem with real bits: convex, solved to its KKT conditions.

With ``theta = 1 / (2^b - 1)^2`` every client's energy is convex in its theta and the error is
linear, so one multiplier separates the clients: client k's bits solve ``e_k'(b) = lambda c_k
|theta'(b)|``, clipped to its limits, and lambda is the price at which the error meets the budget.
The energy is a lower bound on that of integer bits. (The paper's P3 names the variables theta and
pi = tau / T without a definition; this interpretation is the project's own.)
"""

from typing import NamedTuple

import jax.numpy as jnp

from fedjax_diffusion.allocation.allocation import ERROR_SLACK, Choice
from fedjax_diffusion.allocation.float64 import TINY
from fedjax_diffusion.allocation.method import Method
from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.search.priced_bits import (
    Pair,
    PricedBits,
    PricedClients,
    choose_bits,
    price_clients,
)
from fedjax_diffusion.allocation.search.select import select
from fedjax_diffusion.allocation.search.time_split import (
    SplitFn,
    client_cost,
    is_deliverable,
    max_frequency_split,
    time_bracket,
)
from fedjax_diffusion.allocation.search.warm_newton import newton_from
from fedjax_diffusion.allocation.status import Status, client_status, meet_budget
from fedjax_diffusion.bits import FULL_PRECISION_BITS
from fedjax_diffusion.edge.costs import LN2
from fedjax_diffusion.types import Array

_CLOSE_ENOUGH = 0.1 * ERROR_SLACK


def relaxed(problem: AllocationProblem, split: SplitFn) -> Choice:
    """Chooses real bits in ``[min_bits, max_bits]``.

    The payload is ``d b`` plus the least overhead of any bit width, so that a real number of bits
    never costs more than the same bit width.

    Args:
      problem: K clients, without tables per bit width.
      split: divides the deadline at a given payload: ``max_frequency_split``, else optimally.

    Raises:
      ValueError: the problem has tables per bit width, which do not define real bits.

    Guarantees:
      The error is within the budget (to ``ERROR_SLACK``) if the status is OPTIMAL. The dual bound
      holds for any bits and multiplier, also if rounding keeps them from the optimum.
    """
    if problem.bit_width_payload_bits is not None or problem.bit_width_error is not None:
        raise ValueError("relaxed: bit_width_payload_bits and bit_width_error must be None")
    status = client_status(
        problem.min_bits <= problem.max_bits,
        is_deliverable(problem, _payload(problem, problem.min_bits)),
    )
    clients = _Clients(
        problem=problem,
        limits=Pair(problem.min_bits, _largest_bits(problem)),
        is_active=status == Status.OPTIMAL,
        is_time_fixed=split is max_frequency_split,
    )
    smallest_error = clients.total(_error(problem, clients.limits.upper))
    choice = _certify(clients, _search(clients, smallest_error), smallest_error)
    budget = problem.error_budget * (1.0 + ERROR_SLACK)
    return choice._replace(status=meet_budget(status, smallest_error, budget))


class _Clients(NamedTuple):
    """Participating clients, their limits of bits [K], and the kind of split."""

    problem: AllocationProblem
    limits: Pair
    is_active: Array
    is_time_fixed: bool

    @property
    def is_priced(self) -> Array:
        """Mask of the participating clients whose error has a weight, bool [K]."""
        return self.is_active & (self.problem.error_weight > 0)

    def total(self, per_client: Array) -> Array:
        """Returns the sum over the participating clients."""
        return jnp.sum(jnp.where(self.is_active, per_client, 0.0))

    def priced(self, num_bits: Pair) -> PricedClients:
        """Returns the inputs of the search for these limits of bits."""
        overhead_bits = jnp.min(self.problem.overhead_bits)
        return price_clients(self.problem, num_bits, overhead_bits, self.is_time_fixed)


def _search(clients: _Clients, smallest_error: Array) -> PricedBits:
    """Returns the bits at the price at which the error meets the budget.

    The price is the root of ``log(eps - least error) - log(error - least error)``, nearly linear in
    log lambda even if most clients are at their upper limits.
    """
    problem, limits = clients.problem, clients.limits
    budget, room = problem.error_budget, problem.error_budget - smallest_error
    is_free = clients.total(_error(problem, limits.lower)) <= budget
    is_tight = smallest_error >= budget
    priced = clients.priced(limits)
    start = _start(clients, priced)
    bracket = priced.log_price_bracket()
    lowest = jnp.min(jnp.where(clients.is_priced, bracket.lower, start.log_price))
    highest = jnp.max(jnp.where(clients.is_priced, bracket.upper, start.log_price))
    unavoidable = _error(problem, limits.upper)

    def look(log_price, carry):
        last, affordable = carry
        nearby = last.log_nats + last.nats_slope * (log_price - last.log_price)
        answer = choose_bits(priced, log_price, nearby)
        avoidable = jnp.maximum(_error(problem, answer.num_bits) - unavoidable, 0.0)
        excess = clients.total(avoidable)
        slope = clients.total(_error_saved(problem, answer.num_bits) * answer.bits_slope) / excess
        is_met = jnp.abs(excess - room) <= _CLOSE_ENOUGH * budget
        value = jnp.where(is_met, 0.0, jnp.log(room) - jnp.log(excess))
        return value, slope, (answer, select(value >= 0, answer, affordable))

    most_bits = jnp.where(clients.is_priced, limits.upper, limits.lower)
    most = start._replace(num_bits=most_bits, log_price=highest)
    # The price is known if all clients are at their lower limits, or all at their upper ones.
    lower, upper = jnp.where(is_tight, highest, lowest), jnp.where(is_free, lowest, highest)
    _, (answer, affordable) = newton_from(look, start.log_price, lower, upper, (start, most))
    error = clients.total(_error(problem, answer.num_bits))
    answer = select(error <= budget * (1.0 + ERROR_SLACK), answer, affordable)
    answer = select(is_tight, most, answer)
    least = answer._replace(num_bits=limits.lower, log_price=jnp.full_like(highest, -jnp.inf))
    return select(is_free, least, answer)


def _start(clients: _Clients, priced: PricedClients) -> PricedBits:
    """Returns the start of the search: one number of bits that would meet the budget, its price.

    A guess: z lies between its values for tiny payloads and for long uploads; the price is the mean
    of the clients' prices, weighted by their errors.
    """
    problem = clients.problem
    weight = jnp.where(clients.is_priced, problem.error_weight, 0.0)
    total_weight = jnp.maximum(jnp.sum(weight), TINY)
    bit_widths = 1.0 + jnp.sqrt(total_weight / jnp.maximum(problem.error_budget, TINY))
    num_bits = clients.limits.clip(jnp.log2(bit_widths))
    tiny_nats = jnp.log1p(jnp.sqrt(2.0 * jnp.exp(priced.log_work)))
    nats = tiny_nats + 1.3 * priced.nats_per_bit * _payload(problem, num_bits)
    log_nats = priced.log_nats.clip(jnp.log(nats))
    log_prices = jnp.where(clients.is_priced, priced.log_price(log_nats, num_bits), 0.0)
    log_price = jnp.sum(weight * log_prices) / total_weight
    nothing = jnp.zeros_like(num_bits)
    return PricedBits(log_price, log_nats, num_bits, nothing, nothing, nothing)


def _certify(clients: _Clients, answer: PricedBits, smallest_error: Array) -> Choice:
    """Returns the choice with its multiplier, its dual bound and its KKT residual.

    The marginal energy of one more bit is recomputed at the final bits. The Lagrangian is convex in
    every client's bits, so its slope there bounds the distance to its minimum.
    """
    problem, limits, num_bits = clients.problem, clients.limits, answer.num_bits
    held = clients.priced(Pair(num_bits, num_bits))
    at = choose_bits(held, jnp.zeros(()), answer.log_nats)
    is_movable = clients.is_priced & (limits.lower < limits.upper)
    highest = jnp.max(jnp.where(is_movable, held.log_price(at.log_nats, num_bits), -jnp.inf))
    is_tight = smallest_error >= problem.error_budget
    multiplier = jnp.exp(jnp.where(is_tight, highest, answer.log_price))

    noise_joules = problem.noise_density_watts_per_hz / problem.channel_gain
    added = problem.num_parameters * noise_joules * LN2 * jnp.exp(jnp.exp(at.log_nats))
    saved = multiplier * _error_saved(problem, num_bits)
    fewer = jnp.maximum(added - saved, 0.0) * (num_bits - limits.lower)
    more = jnp.maximum(saved - added, 0.0) * (limits.upper - num_bits)
    payload = _payload(problem, num_bits)
    compute_seconds = at.compute_share * problem.time_budget_seconds
    energy = clients.total(client_cost(problem, payload, compute_seconds).total_joules)
    error = clients.total(_error(problem, num_bits))
    unspent = jnp.where(multiplier > 0, multiplier * (problem.error_budget - error), 0.0)
    violation = _bits_residual(limits, num_bits, added, saved)
    return Choice(
        num_bits=num_bits,
        payload=payload,
        error=_error(problem, num_bits),
        status=clients.is_active,
        smallest_error=smallest_error,
        multiplier=multiplier,
        dual_bound=energy - unspent - clients.total(fewer + more),
        residual=jnp.maximum(
            jnp.max(jnp.where(clients.is_active, violation, 0.0)),
            _budget_residual(error, problem.error_budget, unspent / jnp.maximum(energy, TINY)),
        ),
    )


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
    """Returns ``c theta(b)`` [K], shifted to 0 at 32 bits for clients that may send them."""
    is_exact = problem.max_bits == FULL_PRECISION_BITS
    at_full_precision = 1.0 / jnp.square(jnp.exp2(float(FULL_PRECISION_BITS)) - 1.0)
    floor = jnp.where(is_exact, at_full_precision, 0.0)
    return problem.error_weight * (1.0 / jnp.square(jnp.exp2(num_bits) - 1.0) - floor)


def _error_saved(problem: AllocationProblem, num_bits: Array) -> Array:
    """Returns ``-c dtheta / db = 2 ln 2 c 2^b / (2^b - 1)^3`` [K]."""
    power = jnp.exp2(num_bits)
    return 2.0 * LN2 * problem.error_weight * power / (power - 1.0) ** 3


def _bits_residual(limits: Pair, num_bits: Array, added: Array, saved: Array) -> Array:
    """Returns the relative violation [K] of ``e'(b) = lambda c |theta'(b)|`` within the limits."""
    excess = (added - saved) / jnp.maximum(added, saved)
    excess = jnp.where(num_bits <= limits.lower, jnp.minimum(excess, 0.0), excess)
    excess = jnp.where(num_bits >= limits.upper, jnp.maximum(excess, 0.0), excess)
    return jnp.abs(excess)


def _budget_residual(error: Array, budget: Array, unspent_share: Array) -> Array:
    """Returns the relative violation [] of ``error <= eps`` and of ``lambda (eps - error) = 0``.

    The second is relative to eps, or to the energy if that gives less: near full precision one
    rounding of the bits exceeds the whole budget.
    """
    is_finite = jnp.isfinite(budget) & (budget > 0)
    excess = jnp.where(is_finite, (error - budget) / jnp.where(is_finite, budget, 1.0), 0.0)
    slack = jnp.minimum(jnp.abs(excess), jnp.abs(unspent_share))
    return jnp.maximum(jnp.maximum(excess, 0.0), slack)


RELAXED = Method(relaxed, respects_limits=True, respects_budget=True, gives_whole_bits=False)
