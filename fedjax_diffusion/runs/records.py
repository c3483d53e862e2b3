"""Run folder: config.json, environment.json, metrics.jsonl, summary.json, evaluation.json."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_diffusion.allocation import Status
from fedjax_diffusion.allocation.problem import uplink_bits
from fedjax_diffusion.federated.traffic import Traffic
from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.old_names import to_current_names
from fedjax_diffusion.planning.planner import RoundPlan
from fedjax_diffusion.runs.ledger import Ledger
from fedjax_diffusion.simulator import RoundInfo

METRICS = "metrics.jsonl"
CONFIG = "config.json"
ENVIRONMENT = "environment.json"
SUMMARY = "summary.json"
EVALUATION = "evaluation.json"
_SUMMARY_FIELDS = {"num_rounds", "loss", "mean_bits", "client_rounds", "left_out", "methods"}


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
    full_precision_bits = _full_precision_bits(plan) * is_included
    return {
        "round": round,
        "loss": _finite(info.loss),
        "num_bits": np.asarray(allocation.num_bits).astype(int).tolist(),
        "cohort": plan.cohort.tolist(),
        "participants": plan.cohort[is_included].tolist(),
        "diverged": plan.cohort[is_participating & ~is_included].tolist(),
        "status": [Status(s).name.lower() for s in np.asarray(allocation.status)],
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
        "wall_seconds": wall_seconds,
    }


def read_metrics(workdir: Path) -> list[dict]:
    """Returns the rounds of a run folder, in order, without an incomplete last line.

    Raises:
      ValueError: there is no metrics.jsonl, or a line is damaged; names it.
    """
    return list(iterate_metrics(workdir))


def iterate_metrics(workdir: Path) -> Iterator[dict]:
    """Yields the rounds of ``read_metrics``, one in memory at a time."""
    path = Path(workdir) / METRICS
    if not path.exists():
        raise ValueError(f"{workdir} is not a run folder: it has no {METRICS}")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                try:
                    yield parse_line(line)
                except (ValueError, TypeError, RecursionError) as error:
                    raise ValueError(f"{path}, line {number}: {error}") from error


def parse_line(line: bytes) -> dict:
    """Returns one line of metrics.jsonl, with the names of today.

    Raises:
      ValueError: it is no JSON object.
    """
    record = to_current_names("metrics", json.loads(line))
    if not isinstance(record, dict):
        raise ValueError("must be a JSON object")
    return record


def read_summary(workdir: Path) -> dict:
    """Returns the summary.json of a finished run.

    Raises:
      ValueError: it is damaged; says how it is made again.
    """
    path = Path(workdir) / SUMMARY
    try:
        summary = to_current_names("summary", json.loads(path.read_bytes()))
        if missing := _SUMMARY_FIELDS - summary.keys():
            raise ValueError(f"{min(missing)} is missing")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); the command of the run makes it again"
        ) from error
    return summary


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def sample_path(workdir: Path, round: int) -> Path:
    """Returns the path of the images drawn after ``round`` rounds."""
    return Path(workdir) / "samples" / f"round_{round:05d}.png"


class Totals:
    """Running totals of a run, from which summary.json is made."""

    def __init__(self):
        """Begins with no rounds."""
        self._ledger = Ledger()
        self._loss: float | None = None
        self._num_bits = self._num_uploads = self._client_rounds = 0
        self._left_out: Counter[str] = Counter()
        self._sums = dict.fromkeys(("full_precision_bytes", "downlink_bytes", "wall_seconds"), 0)
        self._num_diverged = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds one line of metrics.jsonl.

        Raises:
          KeyError: a field is missing. ValueError, TypeError or AttributeError: it has another type
            than a run writes.
        """
        self._ledger = self._ledger.add(record)
        self._loss = self._loss if record["loss"] is None else record["loss"]
        sent = [bits for bits in record["num_bits"] if bits > 0]
        self._num_bits += sum(sent)
        self._num_uploads += len(sent)
        self._client_rounds += len(record["status"])
        self._left_out.update(status for status in record["status"] if status != "optimal")
        self._num_diverged += len(record["diverged"])
        for name in self._sums:
            self._sums[name] += record[name]

    def summarize(self, num_parameters: int) -> dict:
        """Returns the content of summary.json: the last loss, each method's totals and savings."""
        return {
            "num_rounds": self._ledger.num_rounds,
            "num_parameters": num_parameters,
            "loss": self._loss,
            "mean_bits": self._num_bits / self._num_uploads if self._num_uploads else None,
            "client_rounds": self._client_rounds,
            "left_out": dict(sorted(self._left_out.items())),
            "diverged": self._num_diverged,
            **self._sums,
            "methods": [row._asdict() for row in self._ledger.savings()],
        }


def summarize(records: Iterable[Mapping[str, Any]], num_parameters: int) -> dict:
    """Returns the content of summary.json of a run with these rounds."""
    totals = Totals()
    for record in records:
        totals.add(record)
    return totals.summarize(num_parameters)


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


def _full_precision_bits(plan: RoundPlan) -> np.ndarray:
    """Returns the participating clients' uplink bits at 32 bits per parameter, float64 [M]."""
    is_active = np.asarray(plan.allocation.num_bits) > 0
    return np.asarray(uplink_bits(plan.problem, np.where(is_active, 32, 0)))


def _finite(value: Any) -> float | None:
    """Returns a number for JSON; None for NaN and infinity."""
    number = float(value)
    return number if math.isfinite(number) else None
