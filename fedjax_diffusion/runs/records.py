"""Run folder: config.json, environment.json, metrics.jsonl, summary.json, evaluation.json."""

import json
import math
import os
from collections.abc import Callable, Mapping
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


class MetricsLog:
    """The file metrics.jsonl: one line per round, flushed to disk at once."""

    def __init__(
        self,
        workdir: Path,
        num_rounds: int,
        check: Callable[[], object] = lambda: None,
        *,
        is_writer: bool = True,
    ):
        """Opens the log and cuts it to its first ``num_rounds`` lines, so that a run can resume.

        Args:
          workdir: the run folder.
          num_rounds: number of lines to keep.
          check: called before each line; it raises if another process has taken the run over.
          is_writer: False keeps the records in memory; another process writes the file.

        Raises:
          ValueError: the log has fewer lines than the checkpoint has rounds.
        """
        path = workdir / METRICS
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        if len(lines) < num_rounds:
            raise ValueError(
                f"{path} has {len(lines)} lines, but the checkpoint is at round {num_rounds}; "
                "start again in a new workdir"
            )
        self.records = [_read_line(line) for line in lines[:num_rounds]]
        if is_writer:
            write_text(path, "".join(lines[:num_rounds]))
        self._check = check
        self._file = (path if is_writer else Path(os.devnull)).open("a")

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def append(self, record: dict) -> None:
        """Appends one line and waits until it is on disk."""
        self._check()
        self.records.append(record)
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._file.flush()
        if self._file.name != os.devnull:
            os.fsync(self._file.fileno())


def read_metrics(workdir: Path) -> list[dict]:
    """Returns the rounds of a run folder, in order, without an incomplete last line.

    Raises:
      ValueError: there is no metrics.jsonl.
    """
    path = Path(workdir) / METRICS
    if not path.exists():
        raise ValueError(f"{workdir} is not a run folder: it has no {METRICS}")
    lines = path.read_text().splitlines(keepends=True)
    return [_read_line(line) for line in lines if line.endswith("\n")]


def read_summary(workdir: Path) -> dict:
    """Returns the summary.json of a finished run."""
    return to_current_names("summary", json.loads((Path(workdir) / SUMMARY).read_text()))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def sample_path(workdir: Path, round: int) -> Path:
    """Returns the path of the images drawn after ``round`` rounds."""
    return Path(workdir) / "samples" / f"round_{round:05d}.png"


def summarize(records: list[dict], num_parameters: int) -> dict:
    """Returns the content of summary.json: the last loss, and each method's totals and savings."""
    losses = [record["loss"] for record in records if record["loss"] is not None]
    num_bits = [b for record in records for b in record["num_bits"] if b > 0]
    statuses = [status for record in records for status in record["status"]]
    return {
        "num_rounds": len(records),
        "num_parameters": num_parameters,
        "loss": losses[-1] if losses else None,
        "mean_bits": sum(num_bits) / len(num_bits) if num_bits else None,
        "client_rounds": len(statuses),
        "left_out": {s: statuses.count(s) for s in sorted(set(statuses) - {"optimal"})},
        "diverged": sum(len(record["diverged"]) for record in records),
        "full_precision_bytes": sum(record["full_precision_bytes"] for record in records),
        "downlink_bytes": sum(record["downlink_bytes"] for record in records),
        "wall_seconds": sum(record["wall_seconds"] for record in records),
        "methods": [row._asdict() for row in Ledger.replay(records).savings()],
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


def _full_precision_bits(plan: RoundPlan) -> np.ndarray:
    """Returns the participating clients' uplink bits at 32 bits per parameter, float64 [M]."""
    is_active = np.asarray(plan.allocation.num_bits) > 0
    return np.asarray(uplink_bits(plan.problem, np.where(is_active, 32, 0)))


def _read_line(line: str) -> dict:
    return to_current_names("metrics", json.loads(line))


def _finite(value: Any) -> float | None:
    """Returns a number for JSON; None for NaN and infinity."""
    number = float(value)
    return number if math.isfinite(number) else None
