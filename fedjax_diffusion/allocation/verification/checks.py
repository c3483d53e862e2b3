"""Checks of an allocation, one function per kind; each records the violations."""

import numpy as np

from fedjax_diffusion.allocation.status import Status
from fedjax_diffusion.allocation.verification.checked_allocation import (
    NOT_NEGATIVE,
    ZERO_IF_LEFT_OUT,
    Claim,
)
from fedjax_diffusion.bits import BIT_WIDTHS

_IS_ONE_FOR_ALL = (Status.INFEASIBLE_ERROR, Status.INFEASIBLE_BANDWIDTH)


def check_fields(claim: Claim) -> None:
    """Checks that numbers are finite, statuses exist, and clients left out have zeros."""
    for name, values in claim.fields.items():
        claim.require(name, np.isfinite(values), "finite")
    for name in NOT_NEGATIVE:
        claim.require(name, claim.fields[name] >= 0, "at least 0")
    claim.require("status", np.isin(claim.status, list(Status)), "a Status")
    for name in ZERO_IF_LEFT_OUT:
        is_zero = claim.fields[name] == 0
        claim.require(
            name, is_zero, "0, as the client does not participate", where=~claim.is_active
        )


def check_bits(claim: Claim) -> None:
    """Checks that bits are bit widths, or real, and within the limits."""
    low, high, active = claim.problem.min_bits, claim.problem.max_bits, claim.is_active
    num_bits, requested = claim.fields["num_bits"], claim.fields["requested_bits"]
    for name, bits, where in (("num_bits", num_bits, active), ("requested_bits", requested, True)):
        is_number = np.isin(bits, BIT_WIDTHS) | (claim.is_real & (bits > 0))
        claim.require(name, is_number, "1 to 16, or 32", where=where)
    claim.require("requested_bits", requested == num_bits, "num_bits = {:g}", num_bits, active)
    if claim.respects_limits:
        claim.require("num_bits", num_bits >= low, "at least min_bits = {:g}", low, active)
        claim.require("num_bits", num_bits <= high, "at most max_bits = {:g}", high, active)


def check_bands(claim: Claim) -> None:
    """Checks that bands are the clients' own, or add up to at most their sum."""
    own, bands = claim.problem.bandwidth_hz, claim.fields["bandwidth_hz"]
    is_own = claim.is_shared | claim.findings.is_equal(bands, own)
    claim.require("bandwidth_hz", is_own, "the problem's, {:.12g}", own, claim.is_active)
    used, whole = claim.total(bands), np.sum(own)
    is_within = claim.findings.is_at_most(used, whole)
    claim.findings.require("sum of bandwidth_hz", used, is_within, "at most {:.12g}", whole)


def check_costs(claim: Claim) -> float:
    """Checks times, power and energies against bits and limits; returns the energy, J."""
    anew, fields, active = claim.claimed, claim.fields, claim.is_active
    is_at_most = claim.findings.is_at_most
    tau, upload_seconds = fields["compute_seconds"], fields["upload_seconds"]
    watts = anew.needed_watts(anew.payload(fields["num_bits"]), upload_seconds)
    compute_joules, transmit_joules = anew.compute_joules(tau), upload_seconds * watts
    limit, shortest = claim.problem.max_power_watts, anew.shortest_compute
    for name, is_right, must, expected in (
        ("compute_seconds", is_at_most(shortest, tau), "at least {:.12g}, full speed", shortest),
        (
            "upload_seconds",
            (upload_seconds > 0) & is_at_most(tau + upload_seconds, anew.deadline),
            "above 0 and at most {:.12g}, the deadline without the compute time",
            anew.deadline - tau,
        ),
        (
            "transmit_power_watts",
            is_at_most(fields["transmit_power_watts"], limit),
            "at most max_power_watts = {:.12g}",
            limit,
        ),
    ):
        claim.require(name, is_right, must, expected, active)
    for name, expected in (
        ("transmit_power_watts", watts),
        ("compute_joules", compute_joules),
        ("transmit_joules", transmit_joules),
    ):
        is_right = claim.findings.is_equal(fields[name], expected)
        claim.require(name, is_right, "{:.12g} at these bits and times", expected, active)
    return claim.total(compute_joules + transmit_joules)


def check_statuses(claim: Claim) -> None:
    """Checks that clients left out cannot participate, for the given reason; see ``Status``."""
    status = claim.status
    # A client that demands too much has no share of a shared band, whatever the method respects.
    is_asked = claim.respects_limits | claim.is_shared
    is_demanding = is_asked & (claim.problem.min_bits > claim.problem.max_bits)
    is_late, is_absent = status == Status.INFEASIBLE_TIME, ~claim.problem.is_present
    is_all = np.any(np.isin(status, _IS_ONE_FOR_ALL))
    for is_wrong, must in (
        (
            (status == Status.INFEASIBLE_DEMAND) & ~is_demanding & ~is_absent,
            "another, as the limits of bits are met or ignored",
        ),
        (
            is_absent & ~np.isin(status, (Status.INFEASIBLE_TIME, Status.INFEASIBLE_DEMAND)),
            "infeasible_time or infeasible_demand, as the client is not present",
        ),
        (is_late & is_demanding, "infeasible_demand, as min_bits is above max_bits"),
        (is_late & ~is_absent & _arrives(claim), "another, as the client delivers in time"),
        (claim.is_active & is_all, "infeasible, as those of the others are"),
        (_is_crowded(claim) & _fits(claim), "another, as the bands needed fit together"),
    ):
        claim.require("status", ~is_wrong, must)


def _arrives(claim: Claim) -> np.ndarray:
    """Returns whether each client certainly delivers some allowed bits, bool [K]."""
    anew = claim.offered
    if claim.respects_limits and not claim.is_real:
        return np.any(anew.is_usable(-claim.tolerance), axis=0)
    num_bits = claim.problem.min_bits if claim.respects_limits else claim.fields["requested_bits"]
    seconds = anew.least_seconds(anew.payload(num_bits))
    return np.asarray(seconds <= anew.deadline * (1.0 - claim.tolerance))


def _is_crowded(claim: Claim) -> np.ndarray:
    return claim.status == Status.INFEASIBLE_BANDWIDTH


def _fits(claim: Claim) -> bool:
    """Returns whether the requested bits of the crowded clients certainly arrive together."""
    anew, is_crowded = claim.offered, _is_crowded(claim)
    if not claim.is_shared:
        return True
    least_hz = anew.least_hz(anew.payload(claim.fields["requested_bits"]))
    return float(np.sum(least_hz[is_crowded])) <= anew.bandwidth_hz[0] * (1.0 - claim.tolerance)


def check_error(claim: Claim) -> float:
    """Checks the error; returns that of the bits, or the least if the budget is out of reach."""
    is_at_most, budget = claim.findings.is_at_most, float(claim.problem.error_budget)
    claimed, is_over = claim.fields["error"], claim.status == Status.INFEASIBLE_ERROR
    if not np.any(is_over):
        error = claim.total(claim.claimed.error(claim.fields["num_bits"]))
        is_right = claim.findings.is_equal(claimed, error)
        claim.require("error", is_right, "{:.12g}, that of these bits", error)
        is_within = is_at_most(error, budget) | (not claim.respects_budget)
        claim.findings.require("error", error, is_within, "at most error_budget {:.12g}", budget)
        return error
    # A bit width that arrives exactly at the deadline may count or not.
    least, most = (
        float(np.sum(claim.offered.least_error(slack)[is_over]))
        for slack in (claim.tolerance, -claim.tolerance)
    )
    # Over one shared band not all clients can have their largest bit width at once.
    is_right = is_at_most(least, claimed) & (claim.is_shared | is_at_most(claimed, most))
    claim.require("error", is_right, "{:.12g}, the least possible", least)
    is_out_of_reach = claim.respects_budget & (most >= budget * (1.0 - claim.tolerance))
    claim.require("status", ~is_over | is_out_of_reach, "another, as the budget is within reach")
    return least


def check_bound(claim: Claim, joules: float) -> tuple[float, bool]:
    """Checks bound and gap against the energy, J; returns the new bound, and if it is as good."""
    claimed = claim.fields["dual_bound_joules"]
    is_bound = claim.findings.is_at_most(claimed, joules) & (claimed >= 0)
    claim.require("dual_bound_joules", is_bound, "from 0 to the energy, {:.12g}", joules)
    gap = (joules - claimed) / joules if joules > 0 else 0.0
    is_gap = np.abs(claim.fields["relative_gap"] - gap) <= claim.tolerance
    claim.require("relative_gap", is_gap, "(energy - dual_bound_joules) / energy = {:.12g}", gap)
    priced, credit = _lagrangian(claim)
    # The limits hold to a tolerance, and so does the bound.
    slack, bound = claim.tolerance * priced, max(0.0, priced - credit)
    must = "at least {:.12g}, the Lagrangian bound"
    claim.findings.require("energy", joules, bound <= joules + slack, must, bound)
    return bound, bool(claimed <= bound + slack)


def _lagrangian(claim: Claim) -> tuple[float, float]:
    """Returns ``sum_k min [E_k + lambda v_k + mu W_k]`` and ``lambda eps + mu W``, J."""
    anew, multiplier = claim.offered, claim.price("multiplier")
    # No method shares a band among real bits; 0 is a bound.
    if not np.any(claim.is_active) or (claim.is_shared and claim.is_real):
        return 0.0, 0.0
    credit = claim.price("bandwidth_price") * anew.bandwidth_hz[0] if claim.is_shared else 0.0
    if not claim.respects_budget:
        return claim.total(anew.least_joules(anew.payload(claim.fields["num_bits"]))), credit
    priced = anew.least_priced(multiplier, claim.tolerance)
    credit += multiplier * float(claim.problem.error_budget) if multiplier > 0 else 0.0
    # A client without usable bits adds nothing to the bound.
    return claim.total(np.where(np.isfinite(priced), priced, 0.0)), credit
