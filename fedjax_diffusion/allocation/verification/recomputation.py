"""Recomputation of clients' costs and abilities in NumPy, without any code of the solvers.

It uses the equations of the problem's statement, and golden sections over the energy itself instead
of roots of its derivative.
"""

import functools
from collections.abc import Callable

import numpy as np

from fedjax_diffusion.allocation.problem import AllocationProblem
from fedjax_diffusion.bits import BIT_WIDTHS, FULL_PRECISION_BITS

_BITS = np.array(BIT_WIDTHS, np.float64)[:, None]
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_NUM_CUTS = 50
_LEAST_SHARE = 1e-15


class Recomputation:
    """The K clients of a problem, each with its band.

    Args:
      problem: K clients.
      bandwidth_hz: [K] > 0, W.
      is_real: bits are real numbers as in the method "relaxed": the payload is ``d b`` plus the
        least overhead, and the error is reduced by that of 32 bits if the client may send them.
        Else bits are bit widths.
      respects_limits: only bits within ``min_bits`` and ``max_bits`` may be used.
      band_price: mu, J/Hz, or None. With a price a client may use less than its band, and its
        energies include the price ``mu W`` of the part that it uses.
    """

    def __init__(
        self,
        problem: AllocationProblem,
        bandwidth_hz: np.ndarray,
        *,
        is_real: bool = False,
        respects_limits: bool = True,
        band_price: float | None = None,
    ):
        self.problem, self.bandwidth_hz, self.is_real = problem, bandwidth_hz, is_real
        self.band_price = band_price
        self.deadline = float(problem.time_budget_seconds)
        self.noise_watts = problem.noise_density_watts_per_hz * bandwidth_hz / problem.channel_gain
        snr = problem.max_power_watts / self.noise_watts
        self.bits_per_second = bandwidth_hz * np.log1p(snr) / np.log(2.0)
        self.shortest_compute = problem.compute_cycles / problem.max_frequency_hz
        self.respects_limits = respects_limits

    @functools.cached_property
    def is_allowed(self) -> np.ndarray:
        """The bit widths that limits of bits allow, bool [B, K]."""
        is_within = (self.problem.min_bits <= _BITS) & (self.problem.max_bits >= _BITS)
        return is_within | (not self.respects_limits)

    @functools.cached_property
    def _work(self) -> np.ndarray:
        """``kappa C^3``, J s^2 [K]."""
        return np.asarray(self.problem.effective_capacitance * self.problem.compute_cycles**3)

    def bit_width_payloads(self) -> np.ndarray:
        """Returns the payload of an upload, bits [B, K]: ``8 ceil(d b / 8) + overhead``."""
        if self.problem.bit_width_payload_bits is not None:
            return np.asarray(self.problem.bit_width_payload_bits).T
        codes = 8.0 * np.ceil(self.problem.num_parameters * _BITS / 8.0)
        overhead = np.broadcast_to(self.problem.overhead_bits, len(BIT_WIDTHS))[:, None]
        return np.repeat(codes + overhead, self.problem.num_clients, axis=1)

    def bit_width_errors(self) -> np.ndarray:
        """Returns the terms of the squared error [B, K]: ``c / (2^b - 1)^2``, 0 at 32 bits."""
        if self.problem.bit_width_error is not None:
            return np.asarray(self.problem.bit_width_error).T
        variance = np.where(_BITS < FULL_PRECISION_BITS, (2.0**_BITS - 1.0) ** -2.0, 0.0)
        return variance * self.problem.error_weight

    def payload(self, num_bits: np.ndarray) -> np.ndarray:
        """Returns the payload in bits [K] at these bits [K]."""
        if self.is_real:
            return self.problem.num_parameters * num_bits + np.min(self.problem.overhead_bits)
        return _take(self.bit_width_payloads(), num_bits)

    def error(self, num_bits: np.ndarray) -> np.ndarray:
        """Returns the terms of the squared error [K] at these bits [K]."""
        if not self.is_real:
            return _take(self.bit_width_errors(), num_bits)
        is_exact = self.problem.max_bits == FULL_PRECISION_BITS
        rest = np.where(is_exact, (2.0**FULL_PRECISION_BITS - 1.0) ** -2.0, 0.0)
        return self.problem.error_weight * ((2.0**num_bits - 1.0) ** -2.0 - rest)

    def least_seconds(self, payload: np.ndarray) -> np.ndarray:
        """Returns the shortest round [..., K], s: ``C / F + S / (W log2(1 + P h / (N0 W)))``."""
        return self.shortest_compute + payload / self.bits_per_second

    def needed_watts(self, payload: np.ndarray, upload_seconds: np.ndarray) -> np.ndarray:
        """Returns the power to send a payload, ``(N0 W / h)(2^{S / (W t)} - 1)``, W [..., K]."""
        doublings = payload / (self.bandwidth_hz * upload_seconds)
        return self.noise_watts * np.expm1(np.log(2.0) * doublings)

    def compute_joules(self, compute_seconds: np.ndarray) -> np.ndarray:
        """Returns ``kappa C^3 / tau^2``, J."""
        return self._work / compute_seconds**2

    def least_joules(self, payload: np.ndarray) -> np.ndarray:
        """Returns the energy [..., K] of the best division of the deadline, J.

        Meaningful where ``least_seconds`` is within the deadline.
        """
        if self.band_price is not None:
            return self._least_joules_over_bands(payload, self.band_price)
        sending, least = payload / self.bits_per_second, _LEAST_SHARE * self.deadline

        # In log(tau / t) both shares keep their relative precision, even if one is very small.
        def joules(log_odds):
            odds = np.exp(log_odds)
            rest = self.deadline / (1.0 + odds)
            upload_seconds = np.maximum(rest, sending)
            watts = self.needed_watts(payload, upload_seconds)
            return self.compute_joules(odds * rest) + upload_seconds * watts

        low = np.log(
            self.shortest_compute / np.maximum(self.deadline - self.shortest_compute, least)
        )
        high = np.log(np.maximum(self.deadline - sending, least) / sending)
        return _least(joules, np.broadcast_to(low, payload.shape), np.maximum(low, high))

    def least_hz(self, payload: np.ndarray) -> np.ndarray:
        """Returns the least part of the band, Hz [..., K], for a payload to arrive; else all."""
        high = np.log(np.broadcast_to(self.bandwidth_hz, payload.shape))
        low = high + np.log(_LEAST_SHARE)
        for _ in range(_NUM_CUTS):
            middle = 0.5 * (low + high)
            seconds = Recomputation(self.problem, np.exp(middle)).least_seconds(payload)
            is_in_time = seconds <= self.deadline
            low, high = np.where(is_in_time, low, middle), np.where(is_in_time, middle, high)
        return np.exp(high)

    def _least_joules_over_bands(self, payload: np.ndarray, band_price: float) -> np.ndarray:
        def joules(log_hz):
            bandwidth_hz = np.exp(log_hz)
            energy = Recomputation(self.problem, bandwidth_hz).least_joules(payload)
            return energy + band_price * bandwidth_hz

        whole = np.broadcast_to(self.bandwidth_hz, payload.shape)
        return _least(joules, np.log(self.least_hz(payload)), np.log(whole))

    def is_usable(self, slack: float) -> np.ndarray:
        """Returns the bit widths that are allowed and arrive in time, bool [B, K]."""
        seconds = self.least_seconds(self.bit_width_payloads())
        return self.is_allowed & (seconds <= self.deadline * (1.0 + slack))

    def bit_width_joules(self, slack: float) -> np.ndarray:
        """Returns the least energy of every bit width, J [B, K], infinite if not usable."""
        return np.where(self.is_usable(slack), self.least_joules(self.bit_width_payloads()), np.inf)

    def most_bits(self, slack: float) -> np.ndarray:
        """Returns the most real bits [K] that arrive in time, within the limits."""
        seconds = self.deadline * (1.0 + slack) - self.shortest_compute
        room = seconds * self.bits_per_second - np.min(self.problem.overhead_bits)
        most = np.minimum(room / self.problem.num_parameters, self.problem.max_bits)
        return np.maximum(most, self.problem.min_bits)

    def least_error(self, slack: float) -> np.ndarray:
        """Returns the least error [K] of allowed bits that arrive in time; infinite if none do."""
        if self.is_real:
            return self.error(self.most_bits(slack))
        return np.min(np.where(self.is_usable(slack), self.bit_width_errors(), np.inf), axis=0)

    def least_priced(self, multiplier: float, slack: float) -> np.ndarray:
        """Returns ``min_b e(b) + lambda v(b)`` [K], J; infinite where no bits are usable."""
        if not self.is_real:
            errors = np.where(self.is_usable(slack), self.bit_width_errors(), 0.0)
            return np.min(self.bit_width_joules(slack) + multiplier * errors, axis=0)

        def priced(num_bits):
            return self.least_joules(self.payload(num_bits)) + multiplier * self.error(num_bits)

        return _least(priced, self.problem.min_bits, self.most_bits(slack))


def _take(table: np.ndarray, num_bits: np.ndarray) -> np.ndarray:
    """Returns the entries [K] of a table [B, K] at these bit widths, or the next larger ones."""
    index = np.searchsorted(BIT_WIDTHS[:-1], num_bits)
    return np.take_along_axis(table, index[None], axis=0)[0]


def _least(fn: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Returns the minima of elementwise functions with one local minimum within ``[low, high]``.

    Uses golden sections and both ends. The function is flat at its minimum: half the digits of the
    place give all digits of the value.
    """
    at_ends = np.minimum(fn(low), fn(high))
    # The best place so far divides the interval; its longer part, in either direction, is cut.
    short_end, place, long_end = low, high - _GOLDEN * (high - low), high
    at_place = fn(place)
    for _ in range(_NUM_CUTS):
        new = long_end - _GOLDEN * (long_end - place)
        at_new = fn(new)
        is_less = at_new < at_place
        short_end, place, long_end = (
            np.where(is_less, place, new),
            np.where(is_less, new, place),
            np.where(is_less, long_end, short_end),
        )
        at_place = np.minimum(at_place, at_new)
    return np.minimum(at_ends, at_place)
