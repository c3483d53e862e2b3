"""The record of a round: one line of metrics.jsonl as plain numbers."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fedjax_diffusion.allocation import Status
from fedjax_diffusion.federated.traffic import Traffic
from fedjax_diffusion.planning.faults import Fault, RoundFaults, make_no_faults
from fedjax_diffusion.planning.planner import RoundPlan
from fedjax_diffusion.runs.ledger import THIS_RUN
from fedjax_diffusion.simulator import RoundInfo


class Bill(NamedTuple):
    """Costs of a round under one method, in the cohort's order.

    Attributes:
      compute_joules: float64 [M].
      transmit_joules: float64 [M].
      sent_bits: float64 [M].
    """

    compute_joules: np.ndarray
    transmit_joules: np.ndarray
    sent_bits: np.ndarray


def make_record(
    round: int,
    plan: RoundPlan,
    info: RoundInfo,
    traffic: Traffic,
    wall_seconds: float,
    faults: RoundFaults | None = None,
) -> dict:
    """Returns one line of metrics.jsonl: a round as plain numbers, in the cohort's order.

    A client whose training diverged computes but sends nothing, both in this run and under every
    baseline. A message shorter than planned is sent in less time at the planned power, so its
    energy is proportional to its length. ``faults`` take the same shares under every method;
    ``traffic`` lacks the messages that they lost. Without them the line has no fields of faults.
    """
    allocation = plan.allocation
    is_participating = np.asarray(allocation.num_bits) > 0
    is_included = np.asarray(info.clients.is_included)
    happened = make_no_faults(np.asarray(allocation.num_bits)) if faults is None else faults
    sent_share = is_included + happened.lost_share
    is_straggling = happened.kind == Fault.LATE  # under every method
    on_time = is_included.copy()
    for baseline in plan.baselines.values():
        on_time &= ~baseline.is_late
    methods = _bill_methods(plan, happened, sent_share, traffic)
    record = {
        "round": round,
        "loss": _finite(info.loss),
        "num_bits": np.asarray(allocation.num_bits).astype(int).tolist(),
        "cohort": plan.cohort.tolist(),
        "participants": plan.cohort[is_included].tolist(),
        "diverged": plan.cohort[is_participating & ~is_included & ~happened.is_lost].tolist(),
        "status": [Status(s).name.lower() for s in np.asarray(allocation.status)],
        **_add_up(methods),
        "baseline_late": {
            n: int((o.is_late & is_included | is_straggling).sum())
            for n, o in plan.baselines.items()
        },
        "on_time_joules": {n: float(((c + t) * on_time).sum()) for n, (c, t, _) in methods.items()},
        "on_time_clients": int(on_time.sum()),
        "uplink_bytes": _count_bytes(methods[THIS_RUN]),
        "planned_uplink_bytes": int((plan.uplink_bits * sent_share).sum()) // 8,
        "downlink_bytes": int(traffic.downlink_bytes.sum()),
        "full_precision_bytes": int((plan.full_precision_bits * sent_share).sum()) // 8,
        "quantization_error": _finite(info.quantization_error),
        "quantization_error_bound": _finite(info.quantization_error_bound),
        "error_budget": _finite(plan.problem.error_budget),
        "predicted_error": plan.predicted_error,
        "relative_gap": _finite(allocation.relative_gap),
        "update_squared_norm": _finite(info.update_squared_norm),
        "step_refused": bool(info.is_refused),
        "wall_seconds": wall_seconds,
    }
    if faults is None:
        return record
    is_in_vain = (faults.kind != Fault.NONE) & ~is_included
    return record | _describe_faults(faults, is_in_vain, methods[THIS_RUN])


def _add_up(methods: Mapping[str, Bill]) -> dict[str, Any]:
    """Returns the fields of energy, and the bytes of the baselines."""
    ours = methods[THIS_RUN]
    compute = {name: float(bill.compute_joules.sum()) for name, bill in methods.items()}
    transmit = {name: float(bill.transmit_joules.sum()) for name, bill in methods.items()}
    baselines = [name for name in methods if name != THIS_RUN]
    return {
        "client_compute_joules": ours.compute_joules.tolist(),
        "client_transmit_joules": ours.transmit_joules.tolist(),
        "compute_joules": compute[THIS_RUN],
        "transmit_joules": transmit[THIS_RUN],
        "total_joules": compute[THIS_RUN] + transmit[THIS_RUN],
        "baseline_joules": {name: compute[name] + transmit[name] for name in baselines},
        "baseline_compute_joules": {name: compute[name] for name in baselines},
        "baseline_transmit_joules": {name: transmit[name] for name in baselines},
        "baseline_uplink_bytes": {name: _count_bytes(methods[name]) for name in baselines},
    }


def _describe_faults(faults: RoundFaults, is_in_vain: np.ndarray, bill: Bill) -> dict[str, Any]:
    """Returns the fields of faults; ``is_in_vain`` [M] marks those that kept a client out."""
    joules = bill.compute_joules + bill.transmit_joules
    return {
        "faults": [Fault(kind).name.lower() for kind in faults.kind],
        "lost_joules": float((joules * is_in_vain).sum()),
        "lost_uplink_bytes": int((bill.sent_bits * is_in_vain).sum()) // 8,
    }


def _count_bytes(bill: Bill) -> int:
    return int(bill.sent_bits.sum()) // 8


def _bill_methods(
    plan: RoundPlan, happened: RoundFaults, sent_share: np.ndarray, traffic: Traffic
) -> dict[str, Bill]:
    """Returns the costs of each method, this run's first."""
    # A lost message is not made, so it counts with its planned length.
    lost_bytes = np.floor(plan.uplink_bits / 8.0 * happened.lost_share)
    sent_bits = 8.0 * (traffic.uplink_bytes + lost_bytes)
    share_sent = sent_bits / np.where(plan.uplink_bits > 0, plan.uplink_bits, 1.0)
    allocation = plan.allocation
    methods = {
        THIS_RUN: Bill(
            np.asarray(allocation.compute_joules) * happened.compute_share,
            np.asarray(allocation.transmit_joules) * share_sent,
            sent_bits,
        )
    }
    for name, baseline in plan.baselines.items():
        methods[name] = Bill(
            baseline.compute_joules * happened.compute_share,
            baseline.transmit_joules * sent_share,
            baseline.uplink_bits * sent_share,
        )
    return methods


def _finite(value: Any) -> float | None:
    """Returns a number for JSON; None for NaN and infinity."""
    number = float(value)
    return number if math.isfinite(number) else None
