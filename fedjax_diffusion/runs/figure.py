"""Figure of a run: its six panels, made from its run folder only."""

import math
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedjax_diffusion.host.figure_bars import draw_stack
from fedjax_diffusion.host.figure_labels import draw_legend
from fedjax_diffusion.host.figure_style import (
    BLACK,
    BLUE,
    Look,
    make_looks,
    use_bits_scale,
    use_log_scale,
)
from fedjax_diffusion.host.figures import default_style, save_figure
from fedjax_diffusion.runs.records import iterate_metrics, list_sent_bits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure

FIGURE = "figures/training.png"
_OWN = "this run"
_FLOAT32 = "its uploads in float32"
_BITS = ("smallest bits", "mean bits", "largest bits")
_ERRORS: dict[str, tuple[str, dict[str, Any]]] = {
    "quantization_error": ("measured", {"color": BLACK}),
    "quantization_error_bound": ("bound, ranges sent", {"color": BLUE, "linestyle": "--"}),
    "error_budget": ("budget", {"color": "0.5", "linestyle": ":"}),
}
_JOULES, _COMPUTE, _TRANSMIT, _MEGABYTES = "joules ", "compute ", "transmit ", "megabytes "
"""Beginnings of columns, each followed by a method."""
_AT_FULL_FREQUENCY = ":max_frequency"
_MAX_RATIO = 3.0
"""Largest bar at full frequency, as a multiple of the largest of the others."""


def draw_figure(workdir: Path) -> Path:
    """Draws a run's rounds (loss, bits, joules, bytes, error) and returns the figure's path.

    Raises:
      ValueError: the folder holds no run, or no round is finished yet.
    """
    path = Path(workdir) / FIGURE
    save_figure(path, make_figure(workdir))
    return path


@default_style()
def make_figure(workdir: Path) -> "Figure":
    """Returns the figure of a run's rounds: loss, bits, error, joules and bytes.

    Raises:
      ValueError: the folder holds no run, or no round is finished yet.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = _read_columns(workdir)
    if not columns:
        raise ValueError(f"{workdir} has no round to draw yet")
    figure = Figure(figsize=(11.5, 7.0), layout="constrained")
    ((loss, bits, error), (joules, uplink, share)) = figure.subplots(2, 3)
    loss.plot(columns["round"], columns["loss"], color=BLACK)
    loss.set(title="training loss")
    _draw_bits(bits, columns)
    _draw_error(error, columns)
    looks = _make_looks(columns)
    _draw_cumulative(joules, columns, _JOULES, looks)
    joules.set(title="energy, all rounds so far", ylabel="J")
    _draw_cumulative(uplink, columns, _MEGABYTES, looks)
    uplink.set(title="uploaded, all rounds so far", ylabel="MB")
    bars = _draw_share(share, columns)
    for axes in (loss, bits, error, joules, uplink):
        axes.set_xlabel("round")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    lines = {str(line.get_label()): line for axes in (joules, uplink, error) for line in axes.lines}
    draw_legend(figure, [*lines.values(), *bars])
    return figure


def _read_columns(workdir: Path) -> dict[str, np.ndarray]:
    """Returns the drawn numbers, [rounds] each: the records of a long run are large."""
    columns: dict[str, array] = {}
    for record in iterate_metrics(workdir):
        for name, value in _to_row(record):
            columns.setdefault(name, array("d")).append(math.nan if value is None else value)
    return {name: np.asarray(values) for name, values in columns.items()}


def _to_row(record: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    sent = list_sent_bits(record) or [0]
    yield "round", record["round"] + 1
    yield "loss", record["loss"]
    yield from zip(_BITS, (min(sent), sum(sent) / len(sent), max(sent)), strict=True)
    for name in _ERRORS:
        yield name, record[name]
    yield f"{_MEGABYTES}{_OWN}", record["uplink_bytes"] / 1e6
    yield f"{_MEGABYTES}{_FLOAT32}", record["full_precision_bytes"] / 1e6
    yield f"{_JOULES}{_OWN}", record["total_joules"]
    yield f"{_COMPUTE}{_OWN}", record["compute_joules"]
    yield f"{_TRANSMIT}{_OWN}", record["transmit_joules"]
    for name, joules in record["baseline_joules"].items():
        yield f"{_JOULES}{name}", joules
        yield f"{_COMPUTE}{name}", record["baseline_compute_joules"][name]
        yield f"{_TRANSMIT}{name}", record["baseline_transmit_joules"][name]


def _select(columns: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Returns the columns of one quantity, by method, this run first."""
    return {k.removeprefix(prefix): v for k, v in columns.items() if k.startswith(prefix)}


def _make_looks(columns: Mapping[str, np.ndarray]) -> dict[str, Look]:
    """Returns the look of this run, of its baselines, and of the same uploads in float32."""
    baselines = [name for name in _select(columns, _JOULES) if name != _OWN]
    own, float32 = Look(BLACK, "", "-"), Look("0.5", "", "--")
    return {_OWN: own, **make_looks(baselines), _FLOAT32: float32}


def _draw_bits(axes: "Axes", columns: Mapping[str, np.ndarray]) -> None:
    smallest, mean, largest = (columns[name] for name in _BITS)
    axes.fill_between(columns["round"], smallest, largest, color="0.8", step="mid", linewidth=0)
    axes.step(columns["round"], mean, where="mid", color=BLACK)
    axes.set(title="bits: smallest, mean, largest", ylabel="bits per parameter")
    use_bits_scale(axes.yaxis)


def _draw_error(axes: "Axes", columns: Mapping[str, np.ndarray]) -> None:
    for name, (label, style) in _ERRORS.items():
        values = np.where(columns[name] == 0, math.nan, columns[name])
        if not np.isnan(values).all():
            axes.plot(columns["round"], values, label=f"error: {label}", **style)
    axes.set(title="quantization error of the mean", ylabel="squared parameter units")
    if axes.lines:  # none if all uploads have 32 bits
        use_log_scale(axes.yaxis)


def _draw_cumulative(
    axes: "Axes", columns: Mapping[str, np.ndarray], prefix: str, looks: Mapping[str, Look]
) -> None:
    for name, values in _select(columns, prefix).items():
        style = looks[name].line | ({"linewidth": 2.4, "zorder": 3} if name == _OWN else {})
        axes.plot(columns["round"], np.cumsum(values), label=name, **style)
    use_log_scale(axes.yaxis)


def _draw_share(axes: "Axes", columns: Mapping[str, np.ndarray]) -> "list[BarContainer]":
    """Draws bars of the energy of computing and transmitting, for this run and its baselines.

    Full frequency costs many times the energy: its bars are cut where they would hide the others.
    """
    parts = {
        label: {name: float(values.sum()) for name, values in _select(columns, prefix).items()}
        for label, prefix in (("computing", _COMPUTE), ("transmitting", _TRANSMIT))
    }
    names = list(parts["computing"])
    total = {name: sum(part[name] for part in parts.values()) for name in names}
    others = [joules for name, joules in total.items() if _AT_FULL_FREQUENCY not in name]
    labels = [name.replace(_AT_FULL_FREQUENCY, f"\n{_AT_FULL_FREQUENCY}") for name in names]
    stacks = {label: list(part.values()) for label, part in parts.items()}
    axes.set(title="energy of all rounds", xlabel="J")
    return draw_stack(axes, labels, stacks, _MAX_RATIO * max(others) or np.inf)
