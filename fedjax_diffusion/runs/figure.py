"""Tables and figures of a run, made from its run folder only."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedjax_diffusion.host.tables import format_cell, format_percent, format_table
from fedjax_diffusion.runs.ledger import THIS_RUN, percent_saved
from fedjax_diffusion.runs.records import read_metrics, sample_path

FIGURE = "figures/training.png"


def format_loss(loss: float | None) -> str:
    """Returns a training loss as text; "-" if no client participated."""
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
            "bytes saved": _format_savings(row["saved_bytes_percent"], is_own),
            "J saved": _format_savings(row["saved_joules_percent"], is_own),
            "J saved, all on time": _format_savings(row["on_time_saved_joules_percent"], is_own),
        }
        for row in summary["methods"]
        for is_own in [row["method"] == THIS_RUN]
    ]
    split = _split_alone(summary["methods"])
    left_out = ", ".join(f"{n} {status}" for status, n in summary["left_out"].items())
    return "\n".join(
        [
            "",
            format_table(rows),
            "",
            "Each method serves the same clients over the same channels before the same deadline.",
            "It splits the time optimally; with ':max_frequency' it computes at full frequency.",
            "A client whose upload is late is charged at full frequency and full power.",
            *split,
            "",
            f"loss {format_loss(summary['loss'])} after {summary['num_rounds']} rounds, "
            f"{summary['mean_bits'] or 0:.2f} "
            f"bits on average; {summary['client_rounds']} client-rounds, left out: "
            f"{left_out or 'none'}; {summary['wall_seconds']:.0f} s",
        ]
    )


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
    saved = format_percent(percent_saved(best, fastest))
    return [f"Without quantization, the optimal split of the time saves {saved} of the energy."]


def format_paths(workdir: Path) -> str:
    """Returns the paths of a run's images and records as text."""
    rounds = len(read_metrics(workdir))
    return "\n".join(
        [
            f"samples  {sample_path(workdir, rounds)}",
            f"figure   {workdir / FIGURE}",
            f"run      {workdir}",
        ]
    )


def draw_figure(workdir: Path) -> Path:
    """Draws a run's rounds (loss, bits, joules, bytes, error) and returns the figure's path.

    Raises:
      ValueError: the folder holds no run, or no round is finished yet.
    """
    from matplotlib.figure import Figure

    records = read_metrics(workdir)
    if not records:
        raise ValueError(f"{workdir} has no round to draw yet")
    rounds = [record["round"] + 1 for record in records]
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    ((loss, bits, error), (joules, uplink, share)) = figure.subplots(2, 3)
    loss.plot(rounds, [record["loss"] for record in records])
    loss.set(title="training loss", xlabel="round")
    _draw_bits(bits, records, rounds)
    _draw_error(error, records, rounds)
    _draw_cumulative(joules, rounds, _cumulate_joules(records))
    joules.set(title="energy", ylabel="joules, cumulative")
    _draw_cumulative(uplink, rounds, _cumulate_megabytes(records))
    uplink.set(title="uploaded", ylabel="MB, cumulative")
    _draw_share(share, records)
    path = Path(workdir) / FIGURE
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def _draw_bits(axes, records: list[dict], rounds: list[int]) -> None:
    sent = [[b for b in record["num_bits"] if b > 0] or [0] for record in records]
    axes.fill_between(
        rounds, [min(b) for b in sent], [max(b) for b in sent], alpha=0.25, step="mid"
    )
    axes.step(rounds, [sum(b) / len(b) for b in sent], where="mid")
    axes.set(title="bits: smallest, mean, largest", xlabel="round", ylim=(0, None))


def _draw_error(axes, records: list[dict], rounds: list[int]) -> None:
    names = {
        "quantization_error": "measured",
        "quantization_error_bound": "bound, ranges sent",
        "error_budget": "budget",
    }
    for name, label in names.items():
        values = [record[name] for record in records]
        if any(value for value in values):
            axes.semilogy(rounds, [value or None for value in values], label=label)
    axes.set(title="quantization error of the mean, squared", xlabel="round")
    if axes.lines:  # none if all uploads have 32 bits
        axes.legend(fontsize="small")


def _draw_cumulative(axes, rounds: list[int], curves: Mapping[str, list[float]]) -> None:
    for name, values in curves.items():
        style = {"linewidth": 2.5, "color": "black"} if name == "this run" else {"linewidth": 1.2}
        axes.plot(rounds, values, label=name, **style)
    axes.set(xlabel="round", ylim=(0, None))
    axes.legend(fontsize="small")


def _draw_share(axes, records: list[dict]) -> None:
    """Draws bars of the energy of computing and transmitting, for this run and its baselines."""
    compute = {"this run": sum(r["compute_joules"] for r in records)}
    transmit = {"this run": sum(r["transmit_joules"] for r in records)}
    for name in records[0]["baseline_joules"]:
        compute[name] = sum(r["baseline_compute_joules"][name] for r in records)
        transmit[name] = sum(r["baseline_transmit_joules"][name] for r in records)
    labels = [name.replace(":max_frequency", "\n(max_frequency)") for name in compute]
    axes.barh(labels, list(compute.values()), label="computing")
    axes.barh(labels, list(transmit.values()), left=list(compute.values()), label="transmitting")
    axes.invert_yaxis()
    axes.set(title="joules in total", xlabel="joules")
    axes.legend(fontsize="small")


def _cumulate_joules(records: list[dict]) -> dict[str, list[float]]:
    curves = {"this run": [record["total_joules"] for record in records]}
    for name in records[0]["baseline_joules"]:
        curves[name] = [record["baseline_joules"][name] for record in records]
    return {name: list(itertools.accumulate(values)) for name, values in curves.items()}


def _cumulate_megabytes(records: list[dict]) -> dict[str, list[float]]:
    curves = {
        "this run": [record["uplink_bytes"] / 1e6 for record in records],
        "full precision": [record["full_precision_bytes"] / 1e6 for record in records],
    }
    return {name: list(itertools.accumulate(values)) for name, values in curves.items()}


def _format_savings(percent: float | None, is_own: bool) -> str | None:
    return None if is_own else format_percent(percent)
