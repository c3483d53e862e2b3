"""Run folder: config.json, environment.json, metrics.jsonl, summary.json, evaluation.json."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.old_names import OLD_NAMES, to_current_names
from fedjax_diffusion.runs.error_bounds import ErrorBounds
from fedjax_diffusion.runs.learning import Learning
from fedjax_diffusion.runs.ledger import Ledger

METRICS = "metrics.jsonl"
METRICS_CSV = "metrics.csv"
CONFIG = "config.json"
ENVIRONMENT = "environment.json"
SUMMARY = "summary.json"
FAILED = "failed.json"
"""Of a point of a sweep; it says why, also if the run was never begun."""
EVALUATION = "evaluation.json"
EVENTS = "tensorboard"
"""Folder of events for TensorBoard."""
PLUGINS = "plugins"
"""Key of environment.json, of a sweep's or a study's record: SHA-256 of each plug-in by name."""
_OLD_NAMES = [name.encode() for name in OLD_NAMES["metrics"]]
SWEEP = "sweep.json"
"""Of a sweep, two folders above a run that is one of its points."""
SHARED = "evaluation"
"""In a sweep: folder of the weights with which all of its points are measured."""
_SUMMARY_FIELDS = {"num_rounds", "loss", "mean_bits", "client_rounds", "left_out", "methods"}


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
    record = json.loads(line)
    if any(name in line for name in _OLD_NAMES):  # the walk through a line takes longer than JSON
        record = to_current_names("metrics", record)
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


def read_evaluation(workdir: Path) -> dict[str, Any]:
    """Returns the evaluation.json of a run; empty if it is missing or damaged: it is made again."""
    try:
        kept = dict(json.loads((workdir / EVALUATION).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        return {}
    return kept if {"asked", "quality"} <= kept.keys() else {}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def sample_path(workdir: Path, round: int) -> Path:
    """Returns the path of the images drawn after ``round`` rounds."""
    return Path(workdir) / "samples" / f"round_{round:05d}.png"


def shared_folder(workdir: Path) -> Path | None:
    """Returns the folder of the weights with which a run is measured as all others of its sweep.

    It is in the sweep's folder, and moves with it. None: the run is no point of a sweep.
    """
    sweep = Path(os.path.abspath(workdir)).parent.parent
    return sweep / SHARED if (sweep / SWEEP).is_file() else None


def list_sent_bits(record: Mapping[str, Any]) -> list[int]:
    """Returns the bit widths of a round's uploads, from a line of metrics.jsonl."""
    return [bits for bits in record["num_bits"] if bits > 0]


def list_losses(record: Mapping[str, Any]) -> list[str]:
    """Returns the faults of a round that lost a message, from a line of metrics.jsonl."""
    # A client that diverges by a fault is among the diverged, or its update is in the mean.
    return [fault for fault in record.get("faults", ()) if fault not in ("none", "diverging")]


def find_mean_bits(record: Mapping[str, Any]) -> float | None:
    """Returns the bits per parameter of a round, mean over its uploads; None without uploads."""
    sent = list_sent_bits(record)
    return sum(sent) / len(sent) if sent else None


class Totals:
    """Running totals of a run, from which summary.json is made."""

    def __init__(self):
        """Begins with no rounds."""
        self._ledger, self._learning, self._errors = Ledger(), Learning(), ErrorBounds()
        self._loss: float | None = None
        self._num_bits = self._num_uploads = self._client_rounds = 0
        self._left_out: Counter[str] = Counter()
        self._sums = dict.fromkeys(("full_precision_bytes", "downlink_bytes", "wall_seconds"), 0)

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds one line of metrics.jsonl.

        Raises:
          KeyError: a field is missing. ValueError, TypeError or AttributeError: it has another type
            than a run writes.
        """
        self._ledger = self._ledger.add(record)
        self._learning.add(record)
        self._errors.add(record)
        self._loss = record["loss"]
        sent = list_sent_bits(record)
        self._num_bits += sum(sent)
        self._num_uploads += len(sent)
        self._client_rounds += len(record["status"])
        self._left_out.update(status for status in record["status"] if status != "optimal")
        self._left_out.update({"diverged": len(record["diverged"])} if record["diverged"] else ())
        self._left_out.update(list_losses(record))
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
            "diverged": self._left_out["diverged"],
            **self._learning.summarize(),
            **self._errors.summarize(),
            **self._sums,
            "methods": [row._asdict() for row in self._ledger.savings()],
        }


def summarize(records: Iterable[Mapping[str, Any]], num_parameters: int) -> dict:
    """Returns the content of summary.json of a run with these rounds."""
    totals = Totals()
    for record in records:
        totals.add(record)
    return totals.summarize(num_parameters)
