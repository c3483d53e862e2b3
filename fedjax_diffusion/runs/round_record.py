"""The record of a round: one line of metrics.jsonl as plain numbers."""

import math
from typing import Any

import numpy as np

from fedjax_diffusion.allocation import Status
from fedjax_diffusion.federated.traffic import Traffic
from fedjax_diffusion.planning.planner import RoundPlan
from fedjax_diffusion.simulator import RoundInfo


def make_record(
    round: int, plan: RoundPlan, info: RoundInfo, traffic: Traffic, wall_seconds: float
) -> dict:
    """Returns one line of metrics.jsonl: a round as plain numbers, in the cohort's order.

    A client whose training diverged computes but sends nothing, both in this run and under every
    baseline. A message shorter than planned is sent in less time at the planned power, so its
    energy is proportional to its length.
    """
    allocation = plan.allocation
    is_participating = np.asarray(allocation.num_bits) > 0
    is_included = np.asarray(info.clients.is_included)
    on_time = is_included.copy()
    for baseline in plan.baselines.values():
        on_time &= ~baseline.is_late
    methods = _bill_methods(plan, is_included, traffic)
    compute = {name: float(c.sum()) for name, (c, _, _) in methods.items()}
    transmit = {name: float(t.sum()) for name, (_, t, _) in methods.items()}
    bytes_sent = {name: int(bits.sum()) // 8 for name, (_, _, bits) in methods.items()}
    baselines = list(plan.baselines)
    full_precision_bits = plan.full_precision_bits * is_included
    return {
        "round": round,
        "loss": _finite(info.loss),
        "num_bits": np.asarray(allocation.num_bits).astype(int).tolist(),
        "cohort": plan.cohort.tolist(),
        "participants": plan.cohort[is_included].tolist(),
        "diverged": plan.cohort[is_participating & ~is_included].tolist(),
        "status": [Status(s).name.lower() for s in np.asarray(allocation.status)],
        "client_compute_joules": methods["this_run"][0].tolist(),
        "client_transmit_joules": methods["this_run"][1].tolist(),
        "compute_joules": compute["this_run"],
        "transmit_joules": transmit["this_run"],
        "total_joules": compute["this_run"] + transmit["this_run"],
        "baseline_joules": {name: compute[name] + transmit[name] for name in baselines},
        "baseline_compute_joules": {name: compute[name] for name in baselines},
        "baseline_transmit_joules": {name: transmit[name] for name in baselines},
        "baseline_uplink_bytes": {name: bytes_sent[name] for name in baselines},
        "baseline_late": {
            n: int((o.is_late & is_included).sum()) for n, o in plan.baselines.items()
        },
        "on_time_joules": {n: float(((c + t) * on_time).sum()) for n, (c, t, _) in methods.items()},
        "on_time_clients": int(on_time.sum()),
        "uplink_bytes": bytes_sent["this_run"],
        "planned_uplink_bytes": int((plan.uplink_bits * is_included).sum()) // 8,
        "downlink_bytes": int(traffic.downlink_bytes.sum()),
        "full_precision_bytes": int(full_precision_bits.sum()) // 8,
        "quantization_error": _finite(info.quantization_error),
        "quantization_error_bound": _finite(info.quantization_error_bound),
        "error_budget": _finite(plan.problem.error_budget),
        "predicted_error": plan.predicted_error,
        "relative_gap": _finite(allocation.relative_gap),
        "update_squared_norm": _finite(info.update_squared_norm),
        "step_refused": bool(info.is_refused),
        "wall_seconds": wall_seconds,
    }


def _bill_methods(
    plan: RoundPlan, is_included: np.ndarray, traffic: Traffic
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns compute joules, transmit joules and sent bits, [M] each, by method."""
    sent_bits = 8.0 * traffic.uplink_bytes
    share_sent = sent_bits / np.where(plan.uplink_bits > 0, plan.uplink_bits, 1.0)
    allocation = plan.allocation
    methods = {
        "this_run": (
            np.asarray(allocation.compute_joules),
            np.asarray(allocation.transmit_joules) * share_sent,
            sent_bits,
        )
    }
    for name, baseline in plan.baselines.items():
        methods[name] = (
            baseline.compute_joules,
            baseline.transmit_joules * is_included,
            baseline.uplink_bits * is_included,
        )
    return methods


def _finite(value: Any) -> float | None:
    """Returns a number for JSON; None for NaN and infinity."""
    number = float(value)
    return number if math.isfinite(number) else None
