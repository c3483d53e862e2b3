"""Tables and figures of a run, made from its run folder only."""

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedjax_diffusion.host.figures import default_style, save_figure
from fedjax_diffusion.host.tables import format_cell, format_percent, format_table
from fedjax_diffusion.runs.ledger import THIS_RUN, percent_saved
from fedjax_diffusion.runs.metrics_log import count_lines
from fedjax_diffusion.runs.records import iterate_metrics, sample_path

FIGURE = "figures/training.png"
_BITS = ("smallest bits", "mean bits", "largest bits")
_ERRORS = {
    "quantization_error": "measured",
    "quantization_error_bound": "bound, ranges sent",
    "error_budget": "budget",
}
_JOULES, _COMPUTE, _TRANSMIT, _MEGABYTES = "joules ", "compute ", "transmit ", "megabytes "
"""Beginnings of columns, each followed by a method."""


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
            "upload saved": _format_savings(row["saved_bytes_percent"], is_own),
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
    rounds = count_lines(workdir)
    return "\n".join(
        [
            f"samples  {sample_path(workdir, rounds)}",
            f"figure   {workdir / FIGURE}",
            f"run      {workdir}",
        ]
    )


@default_style()
def draw_figure(workdir: Path) -> Path:
    """Draws a run's rounds (loss, bits, joules, bytes, error) and returns the figure's path.

    Raises:
      ValueError: the folder holds no run, or no round is finished yet.
    """
    from matplotlib.figure import Figure

    columns = _read_columns(workdir)
    if not columns:
        raise ValueError(f"{workdir} has no round to draw yet")
    rounds = columns["round"]
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    ((loss, bits, error), (joules, uplink, share)) = figure.subplots(2, 3)
    loss.plot(rounds, columns["loss"])
    loss.set(title="training loss", xlabel="round")
    _draw_bits(bits, columns)
    _draw_error(error, columns)
    _draw_cumulative(joules, columns, _JOULES)
    joules.set(title="energy", ylabel="joules, cumulative")
    _draw_cumulative(uplink, columns, _MEGABYTES)
    uplink.set(title="uploaded", ylabel="MB, cumulative")
    _draw_share(share, columns)
    path = Path(workdir) / FIGURE
    save_figure(path, figure)
    return path


def _read_columns(workdir: Path) -> dict[str, np.ndarray]:
    """Returns the drawn numbers, [rounds] each: the records of a long run are large."""
    columns: dict[str, array] = {}
    for record in iterate_metrics(workdir):
        for name, value in _to_row(record):
            columns.setdefault(name, array("d")).append(math.nan if value is None else value)
    return {name: np.asarray(values) for name, values in columns.items()}


def _to_row(record: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    sent = [bits for bits in record["num_bits"] if bits > 0] or [0]
    yield "round", record["round"] + 1
    yield "loss", record["loss"]
    yield from zip(_BITS, (min(sent), sum(sent) / len(sent), max(sent)), strict=True)
    for name in _ERRORS:
        yield name, record[name]
    yield f"{_MEGABYTES}this run", record["uplink_bytes"] / 1e6
    yield f"{_MEGABYTES}full precision", record["full_precision_bytes"] / 1e6
    yield f"{_JOULES}this run", record["total_joules"]
    yield f"{_COMPUTE}this run", record["compute_joules"]
    yield f"{_TRANSMIT}this run", record["transmit_joules"]
    for name, joules in record["baseline_joules"].items():
        yield f"{_JOULES}{name}", joules
        yield f"{_COMPUTE}{name}", record["baseline_compute_joules"][name]
        yield f"{_TRANSMIT}{name}", record["baseline_transmit_joules"][name]


def _select(columns: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Returns the columns of one quantity, by method, this run first."""
    return {k.removeprefix(prefix): v for k, v in columns.items() if k.startswith(prefix)}


def _draw_bits(axes, columns: Mapping[str, np.ndarray]) -> None:
    smallest, mean, largest = (columns[name] for name in _BITS)
    axes.fill_between(columns["round"], smallest, largest, alpha=0.25, step="mid")
    axes.step(columns["round"], mean, where="mid")
    axes.set(title="bits: smallest, mean, largest", xlabel="round", ylim=(0, None))


def _draw_error(axes, columns: Mapping[str, np.ndarray]) -> None:
    for name, label in _ERRORS.items():
        values = np.where(columns[name] == 0, math.nan, columns[name])
        if not np.isnan(values).all():
            axes.semilogy(columns["round"], values, label=label)
    axes.set(title="quantization error of the mean, squared", xlabel="round")
    if axes.lines:  # none if all uploads have 32 bits
        axes.legend(fontsize="small")


def _draw_cumulative(axes, columns: Mapping[str, np.ndarray], prefix: str) -> None:
    for name, values in _select(columns, prefix).items():
        style = {"linewidth": 2.5, "color": "black"} if name == "this run" else {"linewidth": 1.2}
        axes.plot(columns["round"], np.cumsum(values), label=name, **style)
    axes.set(xlabel="round", ylim=(0, None))
    axes.legend(fontsize="small")


def _draw_share(axes, columns: Mapping[str, np.ndarray]) -> None:
    """Draws bars of the energy of computing and transmitting, for this run and its baselines."""
    compute, transmit = (
        {name: values.sum() for name, values in _select(columns, prefix).items()}
        for prefix in (_COMPUTE, _TRANSMIT)
    )
    labels = [name.replace(":max_frequency", "\n(max_frequency)") for name in compute]
    axes.barh(labels, list(compute.values()), label="computing")
    axes.barh(labels, list(transmit.values()), left=list(compute.values()), label="transmitting")
    axes.invert_yaxis()
    axes.set(title="joules in total", xlabel="joules")
    axes.legend(fontsize="small")


def _format_savings(percent: float | None, is_own: bool) -> str | None:
    return None if is_own else format_percent(percent)
