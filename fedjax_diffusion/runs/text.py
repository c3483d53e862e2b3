"""Results of a run as text, made from its summary and its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedjax_diffusion.host.tables import describe_saving, format_cell, format_percent, format_table
from fedjax_diffusion.runs.error_bounds import explain_errors
from fedjax_diffusion.runs.figure import FIGURE
from fedjax_diffusion.runs.learning import explain_end
from fedjax_diffusion.runs.ledger import THIS_RUN, percent_saved
from fedjax_diffusion.runs.metrics_log import count_lines
from fedjax_diffusion.runs.records import sample_path


def format_loss(loss: float | None) -> str:
    """Returns a training loss as text; "-" if no client participated or all diverged."""
    return "-" if loss is None else f"{loss:.4f}"


def format_summary(summary: Mapping[str, Any]) -> str:
    """Returns the summary of a run as text: joules and bytes against its baselines."""
    rows = [
        {
            "method": row["method"],
            "computing J": row["compute_joules"],
            "transmitting J": row["transmit_joules"],
            "total J": row["total_joules"],
            "uploaded MB": row["uplink_bytes"] / 1e6,
            "late": row["late"],
            "upload saved": _format_savings(row["saved_bytes_percent"], is_own),
            "J saved": _format_savings(row["saved_joules_percent"], is_own),
            "J saved, all on time": _format_savings(row["on_time_saved_joules_percent"], is_own),
        }
        for row in summary["methods"]
        for is_own in [row["method"] == THIS_RUN]
    ]
    split = _split_alone(summary["methods"])
    far = explain_errors(summary)
    left_out = ", ".join(f"{n} {status}" for status, n in summary["left_out"].items())
    return "\n".join(
        [
            "",
            format_table(rows),
            "",
            "Each method serves the same clients over the same channels before the same deadline.",
            "It splits the time optimally; with ':max_frequency' it computes at full frequency.",
            "Where a method cannot be on time, it is charged at full frequency and full power.",
            *split,
            "",
            f"{_format_last_loss(summary)}, "
            f"{summary['mean_bits'] or 0:.2f} "
            f"bits on average; {summary['client_rounds']} client-rounds, left out: "
            f"{left_out or 'none'}; {summary['wall_seconds']:.0f} s",
            *([f"warning: {far}"] if far else []),
            *filter(None, [explain_end(summary)]),
        ]
    )


def _format_last_loss(summary: Mapping[str, Any]) -> str:
    """Returns the loss of the last round as text, or that there was none, and since when."""
    rounds = summary["num_rounds"]
    if summary["loss"] is None:
        if "rounds_without_loss" not in summary:  # earlier versions did not count
            return f"no loss in the last of {rounds} rounds"
        return f"no loss in the last {summary['rounds_without_loss']} of {rounds} rounds"
    return f"loss {format_loss(summary['loss'])} after {rounds} rounds"


def format_quality(quality: Mapping[str, Any]) -> str:
    """Returns the quality of images as text, one number per line."""
    return "\n".join(
        f"{name:28} {format_cell(value)}" for name, value in quality.items() if value is not None
    )


def _split_alone(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the saving of the optimal split of the time without quantization, as text."""
    joules = {row["method"]: row["total_joules"] for row in methods}
    best, fastest = joules.get("full_precision"), joules.get("full_precision:max_frequency")
    if best is None or not fastest:
        return []
    saving = describe_saving(percent_saved(best, fastest), "energy")
    return [f"Without quantization, the optimal split of the time {saving}."]


def format_paths(workdir: Path) -> str:
    """Returns the paths of a run's images and records as text."""
    rounds = count_lines(workdir)
    return "\n".join(
        [
            f"samples  {sample_path(workdir, rounds)}",
            f"figure   {workdir / FIGURE}",
            f"run      {workdir}",
        ]
    )


def _format_savings(percent: float | None, is_own: bool) -> str | None:
    return None if is_own else format_percent(percent)
