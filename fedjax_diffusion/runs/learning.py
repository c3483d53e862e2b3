"""Whether a run learns: the rounds in which its model took a step, and those since the last step.

A round without a step keeps the model, for one of four reasons: every client that participated
diverged, but for those that a fault of the simulated world stopped; the server's step was not
finite; faults stopped every client; or no client participated.
"""

from collections.abc import Mapping
from typing import Any

MAX_LOST_ROUNDS = 2
"""Lost rounds at the end of a run that may be chance; after one more, the run diverged."""
_DIVERGED, _REFUSED, _FAILED, _ABSENT = "diverged", "refused", "failed", "absent"
_WORDS = {
    _DIVERGED: "every client diverged",
    _REFUSED: "the server's step was not finite",
    _FAILED: "every upload failed",
    _ABSENT: "no client participated",
}
"""Reasons for a round without a step, in words."""
_LOWER_RATES = "lower client_optimizer.learning_rate or server_optimizer.learning_rate"
_RAISE_LIMITS = "raise allocator.time_budget_seconds or allocator.error_budget"
_LOWER_FAULTS = "lower the probabilities of config.faults"


def is_early_end(counts: Mapping[str, Any], stop_after: int | None) -> bool:
    """Returns whether a run has lost as many rounds as end it.

    Args:
      counts: of ``Learning.summarize``, or a summary.json that holds them.
      stop_after: ``stop_after_diverged_rounds`` of its config.
    """
    is_counted = "lost_rounds" in counts  # not by earlier versions
    return stop_after is not None and is_counted and counts["lost_rounds"] >= stop_after


def has_diverged(counts: Mapping[str, Any], stop_after: int | None) -> bool:
    """Returns whether the last rounds were lost: all, too many for chance, or as many as end it.

    Arguments as ``is_early_end``; the counts are not those of an earlier version.
    """
    lost = counts["lost_rounds"]
    is_all = lost > 0 and not counts["steps"]
    return is_all or lost > MAX_LOST_ROUNDS or is_early_end(counts, stop_after)


class LearningError(RuntimeError):
    """A run has learned nothing, or has diverged."""


def is_lost(record: Mapping[str, Any]) -> bool:
    """Returns whether a round's clients all diverged, or the server's step was refused."""
    return _find_reason(record) in (_DIVERGED, _REFUSED)


class Learning:
    """Running count of the rounds with a step, and of those since the last one."""

    def __init__(self):
        """Begins with no rounds."""
        self._num_lost = 0
        self._num_steps = self._num_refused = self._rounds_without_loss = 0
        self._since: int | None = None
        self._reasons: set[str] = set()

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds one line of metrics.jsonl."""
        reason = _find_reason(record)
        self._rounds_without_loss = self._rounds_without_loss + 1 if record["loss"] is None else 0
        self._num_refused += reason == _REFUSED
        if reason is None:
            self._num_steps += 1
            self._num_lost, self._since, self._reasons = 0, None, set()
            return
        self._num_lost += reason in (_DIVERGED, _REFUSED)
        self._since = record["round"] if self._since is None else self._since
        self._reasons.add(reason)

    def summarize(self) -> dict[str, Any]:
        """Returns the fields of summary.json that say whether the run learned."""
        return {
            "steps": self._num_steps,
            "refused_steps": self._num_refused,
            "rounds_without_loss": self._rounds_without_loss,
            "no_step_since": self._since,
            "no_step_reasons": [reason for reason in _WORDS if reason in self._reasons],
            "lost_rounds": self._num_lost,
        }


def explain_end(summary: Mapping[str, Any]) -> str | None:
    """Returns since when the model took no step, and why; None if the last round had one.

    >>> explain_end({"no_step_since": 1, "no_step_reasons": ["diverged"]})
    'every client diverged since round 1: the model has not changed since then'
    """
    since = summary.get("no_step_since")  # earlier versions did not count
    if since is None:
        return None
    reasons = " or ".join(_WORDS[reason] for reason in summary["no_step_reasons"])
    return f"{reasons} since round {since}: the model has not changed since then"


def check_learned(summary: Mapping[str, Any], stop_after: int | None = None) -> None:
    """Checks that a finished run has learned something.

    Args:
      summary: the content of its summary.json; one of an earlier version passes.
      stop_after: ``stop_after_diverged_rounds`` of its config.

    Raises:
      LearningError: no round had a step, or the run's last rounds were lost: more than
        ``MAX_LOST_ROUNDS``, or ``stop_after`` of them.
    """
    end = explain_end(summary)
    if end is None:
        return
    lost = summary["lost_rounds"]
    if not summary["steps"]:
        verdict = "nothing was learned"
    elif has_diverged(summary, stop_after):
        verdict = "the run diverged"
    else:
        return
    has_failed = _FAILED in summary["no_step_reasons"]
    advice = _LOWER_RATES if lost else _LOWER_FAULTS if has_failed else _RAISE_LIMITS
    raise LearningError(f"{verdict}: {end}; {advice}")


def _find_reason(record: Mapping[str, Any]) -> str | None:
    """Returns the reason of a round without a step; None if it had one."""
    if record.get("step_refused", False):  # earlier versions refused none
        return _REFUSED
    if record["loss"] is not None:
        return None
    if record["diverged"]:
        return _DIVERGED
    return _FAILED if set(record.get("faults", ())) - {"none"} else _ABSENT
