"""States of a sweep's points, as their folders and the claims tell them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fedjax_diffusion.runs import claims, records
from fedjax_diffusion.runs.claims import Owner
from fedjax_diffusion.runs.learning import MAX_LOST_ROUNDS, has_diverged, is_lost
from fedjax_diffusion.sweep.identity import HASH_DIGITS
from fedjax_diffusion.sweep.listing import HasPoints, list_folders

if TYPE_CHECKING:  # it imports JAX, and a sweep's status is read without
    from fedjax_diffusion.evaluation.quality import EvaluationConfig

STATUSES = ("planned", "running", "stale", "finished", "evaluated", "diverged", "failed")
_DONE = ("finished", "evaluated", "diverged")
_IS_OPEN = "is_open"
"""Field of a failed.json whose point is to be played again."""


class PointState(NamedTuple):
    """The state of a point.

    Attributes:
      status: of ``STATUSES``; ``"planned"`` also if it was begun and is to go on.
      error: of a failed point, one line; else None.
      attempts: number of failures since the last success, also while it is played again.
      summary: the content of summary.json; None if the run is not finished.
      evaluation: the content of evaluation.json; None if the run is not finished and evaluated.
    """

    status: str
    error: str | None = None
    attempts: int = 0
    summary: dict | None = None
    evaluation: dict | None = None

    @property
    def is_done(self) -> bool:
        """Whether the run is finished, evaluated or not."""
        return self.status in _DONE


def read_states(sweep: HasPoints) -> list[PointState]:
    """Returns the state of every point of a sweep, in its order."""
    folders = list_folders(sweep.workdir)
    owners = claims.read_owners(sweep.workdir / claims.FOLDER)
    names = [point.hash[:HASH_DIGITS] for point in sweep.points]
    return [read_state(folders.get(name), owners.get(name)) for name in names]


def read_state(folder: Path | None, owner: Owner | None = None) -> PointState:
    """Returns the state of a point.

    Args:
      folder: its run folder; None if there is none yet.
      owner: the newest claim on it, if any.
    """
    is_live = owner is not None and owner.state == "live"
    if folder is None or not folder.exists():
        return PointState("running" if is_live else "planned")
    failure = read_failure(folder)
    attempts = int(failure.get("attempts", 0))
    if failure and not is_live and not failure.get(_IS_OPEN):
        return PointState("failed", str(failure.get("error", "unknown")), attempts)
    summary = _read_summary(folder)
    if summary is not None:
        return _read_finished(folder, summary, attempts)
    is_stale = owner is not None and owner.state == "stale"
    return PointState("running" if is_live else "stale" if is_stale else "planned", None, attempts)


def read_failure(folder: Path) -> dict[str, Any]:
    """Returns the content of a point's failed.json; empty if there is none."""
    try:
        return dict(json.loads((folder / records.FAILED).read_text()))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError):
        return {"error": f"{records.FAILED} is damaged", "attempts": 1}


def mark_open(folder: Path) -> None:
    """Lets a failed point be played again by the first worker that comes to it."""
    records.write_json(folder / records.FAILED, read_failure(folder) | {_IS_OPEN: True})


def is_evaluated(folder: Path, settings: "EvaluationConfig") -> bool:
    """Returns whether a run was evaluated with these settings."""
    asked = records.read_evaluation(folder).get("asked", {})
    wanted = settings.describe_final()
    return {name: asked.get(name, ...) for name in wanted} == wanted


def format_counts(states: Iterable[PointState]) -> str:
    """Returns the number of points per status as text.

    >>> format_counts([PointState("planned"), PointState("failed"), PointState("planned")])
    '2 planned, 1 failed'
    """
    counts = Counter(state.status for state in states)
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])


def _read_summary(folder: Path) -> dict | None:
    """Returns the summary of a point; None if it is missing or damaged: its run makes it again."""
    try:
        return records.read_summary(folder) if (folder / records.SUMMARY).exists() else None
    except ValueError:
        return None


def _read_finished(folder: Path, summary: dict, attempts: int) -> PointState:
    path = folder / (records.CONFIG if "lost_rounds" in summary else records.METRICS)
    try:
        is_diverged = _is_diverged(path, summary)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"{path} is damaged ({error}); restore it, then --retry"
        return PointState("failed", " ".join(reason.split()), max(attempts, 1))
    evaluation = records.read_evaluation(folder) or None
    status = "diverged" if is_diverged else "evaluated" if evaluation else "finished"
    return PointState(status, None, attempts, summary, evaluation)


def _is_diverged(path: Path, summary: Mapping[str, Any]) -> bool:
    """Returns whether a finished run has diverged: by its config and summary, or its record.

    Args:
      path: of its config.json; of metrics.jsonl if its summary, of an earlier version, counts none.
      summary: the content of its summary.json.
    """
    if path.name == records.CONFIG:
        if not summary["lost_rounds"]:
            return False
        settings = json.loads(path.read_bytes())
        return has_diverged(summary, settings["stop_after_diverged_rounds"])
    last = records.read_metrics(path.parent)[-(MAX_LOST_ROUNDS + 1) :]
    return summary.get("diverged", 0) > 0 and all(map(is_lost, last))
