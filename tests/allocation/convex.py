"""The relaxed problem in CVXPY, written from its statement, to be solved by Clarabel.

Knows nothing of the package's solvers. In units of the deadline, of what a client would send at one
bit width for all, of an equal share of the budget, and of the mean energy of computing for the
whole deadline, so that all numbers are of order 1. Disciplined convex:

- ``t e^(s / t) <= u`` is an exponential cone, and ``u - t`` the energy of sending s nats in t;
- the error is ``v^2`` of ``v = 1 / (2^b - 1)``, and ``v / (1 + v) = 2^-b``: with ``g >= 2^-b``
  that is the second-order cone ``(v - g) (1 - g) >= g^2``.
"""

from typing import NamedTuple

import cvxpy as cp
import numpy as np

_FULL_PRECISION_ERROR = (2.0**32 - 1.0) ** -2


class Model(NamedTuple):
    """A convex program whose minimum, times ``joules``, is the least energy."""

    program: cp.Problem
    joules: float


class Answer(NamedTuple):
    """What CVXPY says.

    Attributes:
      status: "optimal" where all tolerances are met.
      joules: the least energy, or NaN.
      solver_seconds: what Clarabel took, without CVXPY's translation; or NaN.
    """

    status: str
    joules: float
    solver_seconds: float


def pose(problem, is_time_fixed=False):
    """Returns the model of a feasible problem; ``is_time_fixed`` for ``tau = C / F``."""
    num_clients, seconds = problem.num_clients, float(problem.time_budget_seconds)
    noise = problem.noise_density_watts_per_hz * problem.bandwidth_hz / problem.channel_gain
    shortest = problem.compute_cycles / problem.max_frequency_hz / seconds
    overhead = float(np.min(problem.overhead_bits)) / problem.num_parameters
    nats = problem.num_parameters * np.log(2.0) / (problem.bandwidth_hz * seconds)
    computing = problem.effective_capacitance * problem.compute_cycles**3 / seconds**2
    error = problem.error_weight / problem.error_budget
    typical_bits = np.log2(1.0 + np.sqrt(error.sum()))
    unit = nats * (np.clip(typical_bits, problem.min_bits, problem.max_bits) + overhead)

    bits, computed, uploading, sent = (cp.Variable(num_clients) for _ in range(4))
    load = cp.multiply(nats / unit, bits + overhead)
    limits = [
        bits >= problem.min_bits,
        bits <= problem.max_bits,
        computed == shortest if is_time_fixed else computed >= shortest,
        computed + cp.multiply(unit, uploading) <= 1,
        load / np.log1p(problem.max_power_watts / noise) <= uploading,
        cp.ExpCone(load, uploading, sent + uploading),
    ]
    joules = float(np.mean(computing))
    energy = cp.multiply(computing / joules, cp.square(cp.inv_pos(computed)))
    energy += cp.multiply(noise * seconds * unit / joules, sent)
    limits += _within_budget(error, bits, problem.max_bits == 32)
    return Model(cp.Problem(cp.Minimize(cp.sum(energy)), limits), joules)


def _within_budget(error, bits, is_exact):
    """Returns the constraints on the error, in units of the budget, shifted to 0 at 32 bits."""
    counted = np.flatnonzero(error)
    if not counted.size:
        return []
    unit = np.sqrt(1.0 / (error[counted] * counted.size))
    root, power = cp.Variable(counted.size), cp.Variable(counted.size)  # v and g in this unit
    room, slack = root - power, 1.0 - cp.multiply(unit, power)
    cone = cp.vstack([cp.multiply(2.0 * np.sqrt(unit), power), room - slack])
    floor = _FULL_PRECISION_ERROR * np.sum(error[is_exact])
    return [
        cp.exp(-np.log(2.0) * bits[counted] - np.log(unit)) <= power,
        cp.SOC(room + slack, cone, axis=0),
        cp.sum(cp.square(root)) / counted.size - floor <= 1,
    ]


def solve(model):
    """Returns Clarabel's answer at its usual tolerances.

    With steps of 0.9 of the way to the boundary instead of 0.99 it ends "optimal" far more often.
    """
    try:
        model.program.solve(solver=cp.CLARABEL, max_step_fraction=0.9)
    except cp.SolverError:
        return Answer("failed", np.nan, np.nan)
    minimum = model.program.value
    joules = np.nan if minimum is None else minimum * model.joules
    return Answer(model.program.status, joules, model.program.solver_stats.solve_time)
