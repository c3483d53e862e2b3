"""Run folder: config.json, environment.json, metrics.jsonl, summary.json, evaluation.json."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.host.old_names import to_current_names
from fedjax_diffusion.runs.ledger import Ledger

METRICS = "metrics.jsonl"
CONFIG = "config.json"
ENVIRONMENT = "environment.json"
SUMMARY = "summary.json"
EVALUATION = "evaluation.json"


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


def _read_line(line: str) -> dict:
    return to_current_names("metrics", json.loads(line))
