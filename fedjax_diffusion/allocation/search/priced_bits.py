"""Real bits that a client chooses at a price of its error: explicit except for one root.

The unknown of a client is its *marginal nats* z: one more bit of payload costs it ``(N0 ln 2 / h)
e^z`` joules. Below the power limit, z is the load of the channel, ``y = S ln 2 / (W t)``; beyond
it, y stays at ``y_max = log(1 + P h / (N0 W))`` and z grows on. All else is explicit in z:

    tau(z) = max(C / F, (2 kappa C^3 h / (N0 W psi(z)))^(1/3)),  psi(z) = y e^z - e^y + 1,
    (2^b - 1)^3 / 2^b = lambda (2 c h / (N0 d)) e^-z,            y = min(z, y_max),

with b clipped to its limits: one second saves as much energy in computing as in sending, and one
bit costs as much as its error at the price. The unknown z solves ``tau(z) + S(b(z)) ln 2 / (W y) =
T``. The left-hand side is a sum of positive terms and decreases in z, so the root of its logarithm
in log z loses no digits at any scale: Newton's method needs about five evaluations from a far
start, one or two from a near one.

arXiv 2403.04430 names the KKT conditions; this form of them is this project's own.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.allocation.search.time_split import noise_watts
from fedjax_diffusion.allocation.search.warm_newton import newton_from
from fedjax_diffusion.edge import costs
from fedjax_diffusion.edge.costs import LN2
from fedjax_diffusion.types import Array

_ROUNDING = 8.0 * float(np.finfo(np.float64).eps)
_NUM_CUBIC_STEPS = 4


class Pair(NamedTuple):
    """Ends of an interval, [K] each."""

    lower: Array
    upper: Array

    def clip(self, value: Array) -> Array:
        """Returns the value clipped to the interval."""
        return jnp.clip(value, self.lower, self.upper)


class PricedClients(NamedTuple):
    """Inputs of the choice of bits of K clients at a price; float64 [K] unless noted.

    Attributes:
      log_work: log of ``2 kappa C^3 h / (T^3 N0 W)``; minus infinity where the compute time is
        fixed.
      shortest_share: ``C / (F T)``.
      nats_per_bit: ``ln 2 / (W T)``, the load of one bit sent over the whole deadline.
      nats_limit: ``y_max``, the load at full power.
      log_worth: log of ``2 c h / (N0 d)``; minus infinity where c is 0.
      num_parameters: [], d.
      overhead_bits: [].
      num_bits: the range of bits; ``1 <= lower <= upper``, all deliverable.
      log_steepness: ``log_steepness(num_bits)``.
      log_nats: the range of log z that contains the root.
    """

    log_work: Array
    shortest_share: Array
    nats_per_bit: Array
    nats_limit: Array
    log_worth: Array
    num_parameters: Array
    overhead_bits: Array
    num_bits: Pair
    log_steepness: Pair
    log_nats: Pair

    def log_price(self, log_nats: Array, num_bits: Array) -> Array:
        """Returns log lambda [K] at which clients with these marginal nats choose these bits."""
        return jnp.exp(log_nats) + log_steepness(num_bits) - self.log_worth

    def log_price_bracket(self) -> Pair:
        """Returns prices [K] below which the bits are fewest, and above which they are most."""
        return Pair(*map(self.log_price, self.log_nats, self.num_bits))


class PricedBits(NamedTuple):
    """The clients' choice at a price; float64 [K] each, except the price.

    Attributes:
      log_price: [], log lambda.
      log_nats: log z.
      num_bits: b, equal to a limit exactly if the limit is active.
      compute_share: ``tau / T``.
      nats_slope: ``d log z / d log lambda``.
      bits_slope: ``db / d log lambda``; 0 at a limit.
    """

    log_price: Array
    log_nats: Array
    num_bits: Array
    compute_share: Array
    nats_slope: Array
    bits_slope: Array


def price_clients(
    problem: AllocationProblem, num_bits: Pair, overhead_bits: Array, is_time_fixed: bool
) -> PricedClients:
    """Returns the inputs of the search for the clients of a problem.

    Args:
      problem: K clients.
      num_bits: the range of bits.
      overhead_bits: [], bits of an upload beyond ``d b``.
      is_time_fixed: all compute for ``C / F``, instead of the optimal time.
    """
    seconds = problem.time_budget_seconds
    noise = noise_watts(problem)
    shortest_share = problem.compute_cycles / problem.max_frequency_hz / seconds
    power_ratio = problem.max_power_watts / noise
    nats_limit = jnp.log1p(power_ratio)
    nats_per_bit = LN2 / (problem.bandwidth_hz * seconds)
    log_cycles = jnp.log(problem.compute_cycles / seconds)
    log_work = jnp.log(2.0 * problem.effective_capacitance) + 3.0 * log_cycles - jnp.log(noise)
    if is_time_fixed:
        log_work = jnp.full_like(log_work, -jnp.inf)
    # A bit costs most at full frequency and full power, where e^z y_max = P h / (N0 W) +
    # 2 kappa F^3 h / (N0 W); the fewest bits are sent in less than the whole deadline.
    fastest = jnp.logaddexp(log_work - 3.0 * jnp.log(shortest_share), jnp.log(power_ratio))
    most_nats = jnp.maximum(fastest - jnp.log(nats_limit), nats_limit)
    least_nats = nats_per_bit * (problem.num_parameters * num_bits.lower + overhead_bits)
    density = problem.noise_density_watts_per_hz * problem.num_parameters
    return PricedClients(
        log_work=log_work,
        shortest_share=shortest_share,
        nats_per_bit=nats_per_bit,
        nats_limit=nats_limit,
        log_worth=jnp.log(2.0 * problem.error_weight * (problem.channel_gain / density)),
        num_parameters=problem.num_parameters,
        overhead_bits=overhead_bits,
        num_bits=num_bits,
        log_steepness=Pair(*map(log_steepness, num_bits)),
        log_nats=Pair(jnp.log(jnp.minimum(least_nats, most_nats)), jnp.log(most_nats)),
    )


def log_steepness(num_bits: Array) -> Array:
    """Returns ``log((2^b - 1)^3 / 2^b)``: the higher, the less one more bit reduces the error."""
    return 2.0 * LN2 * num_bits + 3.0 * jnp.log1p(-jnp.exp2(-num_bits))


def choose_bits(clients: PricedClients, log_price: Array, log_nats: Array) -> PricedBits:
    """Returns the bits that each client chooses at a price.

    Args:
      clients: K clients.
      log_price: [], log lambda, finite.
      log_nats: [K], the initial log z.
    """

    def look(log_nats, _):
        return _look(clients, log_price, log_nats)

    nothing = jnp.zeros_like(log_nats)
    carry = PricedBits(log_price, nothing, nothing, nothing, nothing, nothing)
    return newton_from(look, log_nats, *clients.log_nats, carry)[1]


def _look(
    clients: PricedClients, log_price: Array, log_nats: Array
) -> tuple[Array, Array, PricedBits]:
    """Returns ``log(T / (tau + t))`` at log z, its slope, and the choice at log z."""
    nats = jnp.exp(log_nats)
    load = jnp.minimum(nats, clients.nats_limit)
    curve, power = costs.power_curve(load)
    pressure = jnp.expm1(nats - load)
    curve = curve + load * power * pressure
    free_share = jnp.exp((clients.log_work - jnp.log(curve)) / 3.0)
    compute_share = jnp.maximum(free_share, clients.shortest_share)

    log_worth = log_price + clients.log_worth - nats
    is_between = (log_worth > clients.log_steepness.lower) & (
        log_worth < clients.log_steepness.upper
    )
    bit_widths = _bit_widths_at(clients.log_steepness.clip(log_worth))
    limit = jnp.where(
        log_worth > clients.log_steepness.lower, clients.num_bits.upper, clients.num_bits.lower
    )
    num_bits = jnp.where(is_between, clients.num_bits.clip(jnp.log2(bit_widths)), limit)
    share_per_bit = clients.nats_per_bit / load
    upload_share = share_per_bit * (clients.num_parameters * num_bits + clients.overhead_bits)

    # Decrease of the shares with log z: of computing, of sending the same bits, of sending fewer.
    is_free = free_share > clients.shortest_share
    curve_slope = nats * load * power * (1.0 + pressure)
    by_computing = jnp.where(is_free, compute_share * curve_slope / (3.0 * curve), 0.0)
    by_sending = jnp.where(nats < clients.nats_limit, upload_share, 0.0)
    bits_slope = jnp.where(is_between, (bit_widths - 1.0) / (LN2 * (2.0 * bit_widths + 1.0)), 0.0)
    by_price = share_per_bit * clients.num_parameters * bits_slope
    slope = by_computing + by_sending + nats * by_price
    nats_slope = jnp.where(slope > 0, by_price / jnp.where(slope > 0, slope, 1.0), 0.0)
    share = compute_share + upload_share
    left = jnp.where(jnp.abs(share - 1.0) <= _ROUNDING, 0.0, -jnp.log(share))
    answer = PricedBits(
        log_price=log_price,
        log_nats=log_nats,
        num_bits=num_bits,
        compute_share=compute_share,
        nats_slope=nats_slope,
        bits_slope=bits_slope * (1.0 - nats * nats_slope),
    )
    return left, slope / share, answer


def _bit_widths_at(log_steepness: Array) -> Array:
    """Returns ``x = 2^b >= 2`` for a given ``g = log((x - 1)^3 / x)``, by Newton's method.

    ``(x - 3 / 2)^2 = e^g - 3 / 4 + 1 / x`` and ``1 / x <= 1 / 2`` give a start that is at most 3 %
    too large; four steps then reach rounding.
    """
    steepness = jnp.exp(log_steepness)
    bit_widths = 1.5 + jnp.sqrt(jnp.maximum(steepness - 0.25, 0.0))
    for _ in range(_NUM_CUBIC_STEPS):
        steps = bit_widths - 1.0
        excess = steps * steps * steps - steepness * bit_widths
        bit_widths = bit_widths - excess / (3.0 * steps * steps - steepness)
    return bit_widths
