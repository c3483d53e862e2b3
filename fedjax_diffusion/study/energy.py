"""Energy of all methods for the same clients and channels, averaged over many rounds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedjax_diffusion.experiment.scenario import Scenario
from fedjax_diffusion.federated import NOT_MEASURED, UploadStatistics
from fedjax_diffusion.planning.baselines import REFERENCE_BASELINES, Baseline
from fedjax_diffusion.planning.planner import InfeasibleFleetError, RoundPlan
from fedjax_diffusion.runs.ledger import percent_saved


class StudyRow(NamedTuple):
    """One method over R rounds; None if no client participated, or without a budget.

    Attributes:
      method: the method.
      rounds: R.
      client_rounds: number of uploads in all rounds; the same for every method.
      infeasible: client-rounds left out by the scenario's own method; no method serves them.
      late: uploads of this method that are not on time, charged at full frequency and full power.
      joules_per_round: energy summed over the clients, mean over the rounds.
      compute_joules_per_round: the part for training.
      transmit_joules_per_round: the part for sending.
      joules_per_client: mean over the uploads.
      joules_per_client_p10: 10th percentile of the rounds' means.
      joules_per_client_p90: 90th percentile of the rounds' means.
      mean_bits: bits per parameter, mean over the uploads.
      uplink_bytes_per_round: uploaded bytes, mean over the rounds.
      error_over_budget: bound on the squared error divided by eps, mean over the rounds.
      relative_gap_max: largest relative gap of the method's allocations.
      saved_percent_full_precision: joules saved against full precision with the optimal split.
      saved_percent_full_precision_max_frequency: the same against full precision at full frequency.
      on_time_client_rounds: uploads that are on time under every method.
      on_time_saved_percent_full_precision: the first saving, over those uploads only.
      on_time_saved_percent_full_precision_max_frequency: the second saving, over those only.
    """

    method: str
    rounds: int
    client_rounds: int
    infeasible: int
    late: int
    joules_per_round: float
    compute_joules_per_round: float
    transmit_joules_per_round: float
    joules_per_client: float | None
    joules_per_client_p10: float | None
    joules_per_client_p90: float | None
    mean_bits: float | None
    uplink_bytes_per_round: float
    error_over_budget: float | None
    relative_gap_max: float
    saved_percent_full_precision: float | None
    saved_percent_full_precision_max_frequency: float | None
    on_time_client_rounds: int
    on_time_saved_percent_full_precision: float | None
    on_time_saved_percent_full_precision_max_frequency: float | None


def compare(scenario: Scenario, num_rounds: int) -> list[StudyRow]:
    """Plans the rounds of a scenario without training and returns one row per method.

    The scenario's own method determines the participating clients, as in a run; its baselines are
    charged for exactly these. All uploads are assumed to have the same range, ``V_k = 1``, and the
    model to be one tensor: with a budget ``as_fixed_bits`` the scale cancels.

    Args:
      scenario: its method and baselines include ``REFERENCE_BASELINES``.
      num_rounds: R >= 1, rounds 0..R-1 of the run with this seed: the same channels and cohorts.

    Returns:
      The rows, the scenario's own method first. If no client can ever participate, their totals are
      0 and their means None.

    Raises:
      InfeasibleRoundError: under ``on_infeasible = "stop"``.
    """
    plans = _plan_rounds(scenario, num_rounds)
    own = scenario.allocator.method
    rounds = [{own: _own_bill(plan)} | plan.baselines for plan in plans]
    budgets = np.array([float(plan.problem.error_budget) for plan in plans])
    cohort_size = scenario.cohort_size or len(scenario.num_examples)
    infeasible = num_rounds * cohort_size - sum(int((r[own].num_bits > 0).sum()) for r in rounds)
    bills = {
        name: _stack([bill[name] for bill in rounds], cohort_size)
        for name in (own, *scenario.allocator.baselines)
    }
    is_on_time = ~np.any([bill.is_late for bill in bills.values()], axis=0)
    is_on_time &= bills[own].num_bits > 0
    baselines = [bills[name] for name in REFERENCE_BASELINES]
    return [
        _to_row(name, bill, baselines, is_on_time, budgets, num_rounds, infeasible)
        for name, bill in bills.items()
    ]


class _Bill(NamedTuple):
    """One method's rounds: [R, M] each, ``error`` and ``relative_gap`` [R]."""

    compute_joules: np.ndarray
    transmit_joules: np.ndarray
    uplink_bits: np.ndarray
    is_late: np.ndarray
    num_bits: np.ndarray
    error: np.ndarray
    relative_gap: np.ndarray

    @property
    def joules(self) -> np.ndarray:
        return self.compute_joules + self.transmit_joules


def _plan_rounds(scenario: Scenario, num_rounds: int) -> list[RoundPlan]:
    """Returns the rounds' plans; none if no client can participate even without fading."""
    try:
        plan = scenario.make_planner()
    except InfeasibleFleetError:
        return []
    sizes = np.array([scenario.workload.num_parameters])
    error_curve = scenario.quantization.quantizer.error_curve(sizes)[:, 0]
    error_curve = error_curve.astype(np.float32)  # as a run measures it
    bit_width_error = np.tile(error_curve, (len(scenario.num_examples), 1))
    rounds = (UploadStatistics(n, bit_width_error, NOT_MEASURED) for n in range(num_rounds))
    return [plan(scenario.run_key, statistics) for statistics in rounds]


def _own_bill(plan: RoundPlan) -> Baseline:
    """Returns the cost of the scenario's own method, in the form of a baseline's."""
    allocation = plan.allocation
    return Baseline(
        compute_joules=np.asarray(allocation.compute_joules),
        transmit_joules=np.asarray(allocation.transmit_joules),
        uplink_bits=plan.uplink_bits,
        is_late=np.zeros(len(plan.cohort), bool),
        num_bits=np.asarray(allocation.num_bits),
        error=float(plan.predicted_error or 0.0),
        relative_gap=float(allocation.relative_gap),
    )


def _stack(bills: Sequence[Baseline], cohort_size: int) -> _Bill:
    def stack(name: str, width: tuple[int, ...]) -> np.ndarray:
        kind = bool if name == "is_late" else float
        values = [getattr(bill, name) for bill in bills]
        return np.array(values, kind).reshape(len(bills), *width)

    per_round = ("error", "relative_gap")
    return _Bill(**{n: stack(n, () if n in per_round else (cohort_size,)) for n in _Bill._fields})


def _to_row(
    method: str,
    bill: _Bill,
    baselines: Sequence[_Bill],
    is_on_time: np.ndarray,
    budgets: np.ndarray,
    num_rounds: int,
    infeasible: int,
) -> StudyRow:
    is_participating = bill.num_bits > 0
    num_uploads = is_participating.sum(axis=1)
    is_played = num_uploads > 0
    means = bill.joules.sum(axis=1)[is_played] / num_uploads[is_played]
    client_rounds = int(num_uploads.sum())
    spread = np.percentile(means, (10, 90)).tolist() if client_rounds else (None, None)
    has_budget = is_played & np.isfinite(budgets) & (budgets > 0)
    error_over_budget = bill.error[has_budget] / budgets[has_budget]
    return StudyRow(
        method=method,
        rounds=num_rounds,
        client_rounds=client_rounds,
        infeasible=infeasible,
        late=int(bill.is_late.sum()),
        joules_per_round=float(bill.joules.sum()) / num_rounds,
        compute_joules_per_round=float(bill.compute_joules.sum()) / num_rounds,
        transmit_joules_per_round=float(bill.transmit_joules.sum()) / num_rounds,
        joules_per_client=float(bill.joules.sum()) / client_rounds if client_rounds else None,
        joules_per_client_p10=spread[0],
        joules_per_client_p90=spread[1],
        mean_bits=float(bill.num_bits.sum()) / client_rounds if client_rounds else None,
        uplink_bytes_per_round=float(bill.uplink_bits.sum()) / 8 / num_rounds,
        error_over_budget=float(error_over_budget.mean()) if has_budget.any() else None,
        relative_gap_max=float(bill.relative_gap.max(initial=0.0)),
        saved_percent_full_precision=_joules_saved(bill, baselines[0]),
        saved_percent_full_precision_max_frequency=_joules_saved(bill, baselines[1]),
        on_time_client_rounds=int(is_on_time.sum()),
        on_time_saved_percent_full_precision=_joules_saved(bill, baselines[0], is_on_time),
        on_time_saved_percent_full_precision_max_frequency=_joules_saved(
            bill, baselines[1], is_on_time
        ),
    )


def _joules_saved(bill: _Bill, baseline: _Bill, where: np.ndarray | bool = True) -> float | None:
    """Returns the joules saved against a baseline over the client-rounds ``where``, in percent."""
    return percent_saved(*(float(np.sum(b.joules, where=where)) for b in (bill, baseline)))
