"""Figures of the energy of computing and of transmitting, as stacked bars."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedjax_diffusion.host.figure_bars import draw_stack
from fedjax_diffusion.host.figure_labels import draw_legend
from fedjax_diffusion.host.figure_style import to_label
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.report.figures.marks import describe_seeds
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import list_settings
from fedjax_diffusion.report.tables import ReportTables
from fedjax_diffusion.runs.records import CONFIG, METRICS, iterate_metrics, parse_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("compute_joules", "transmit_joules")
_CLIENT_PARTS = ("client_compute_joules", "client_transmit_joules")
_MAX_BARS = 24


def list_shares(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the bars of the settings, and those of the device classes of a run."""
    bars = _list_bars(tables)
    settings = [setting for setting in list_settings(tables) if setting.values("total_joules")]
    if len(bars) > 1:
        more = f" The {_MAX_BARS} with least energy." if len(settings) > len(bars) else ""
        yield NamedFigure(
            "energy_parts",
            "Energy of computing and transmitting",
            "Joules of a run for computing and for transmitting, their sum beside the bar; mean "
            f"over the seeds ({describe_seeds(settings, 'total_joules')}).{more}",
            partial(draw_shares, tables),
        )
    folder = tables.folders.get(tables.index["hash"][0].as_py()) if tables.kind == "run" else None
    if folder is not None and _has_client_joules(folder):
        yield NamedFigure(
            "device_energy",
            "Energy by class of device",
            "Joules of all rounds for computing and for transmitting, summed over the clients of "
            "each class of devices; their sum beside the bar.",
            partial(draw_device_shares, folder),
        )


@default_style()
def draw_shares(tables: ReportTables) -> "Figure":
    """Draws the joules of computing and transmitting of each setting, mean over the seeds."""
    return _draw_bars(_list_bars(tables), "energy of a run, J")


@default_style()
def draw_device_shares(folder: Path) -> "Figure":
    """Draws the joules of computing and transmitting of each class of devices in a run.

    Args:
      folder: of the run.
    """
    return _draw_bars(sum_devices(folder), "energy of all rounds, J")


def sum_devices(folder: Path) -> dict[str, tuple[float, float]]:
    """Returns joules of computing and transmitting by class of device, over all rounds of a run.

    Args:
      folder: of the run. Its config.json gives the fleet.
    """
    from fedjax_diffusion.edge import make_fleet  # it imports JAX

    config = json.loads((folder / CONFIG).read_text())
    number = config["partition"]["num_clients"]
    devices = make_fleet(number, seed=config["seed"], **config["devices"])
    joules = np.zeros((len(PARTS), number))
    for record in iterate_metrics(folder):
        for row, name in zip(joules, _CLIENT_PARTS, strict=True):
            row[record["cohort"]] += record[name]
    sums = {}
    for index, name in enumerate(devices.class_names):
        is_member = devices.class_index == index
        compute, transmit = joules[:, is_member].sum(axis=1)
        members = int(is_member.sum())
        key = f"{name} ({members} client{'s' * (members != 1)})"
        sums[key] = float(compute), float(transmit)
    return sums


def _list_bars(tables: ReportTables) -> dict[str, tuple[float, float]]:
    """Returns both parts of each setting, of many those with least energy, in their order."""
    settings = [setting for setting in list_settings(tables) if setting.values("total_joules")]
    cheapest = sorted(settings, key=lambda setting: setting.mean("total_joules"))[:_MAX_BARS]
    names = {setting.name for setting in cheapest}
    return {s.name: (s.mean(PARTS[0]), s.mean(PARTS[1])) for s in settings if s.name in names}


def _has_client_joules(folder: Path) -> bool:
    """Returns whether the first round of a run says what each client spent."""
    try:
        with (folder / METRICS).open("rb") as file:
            return parse_line(file.readline()).keys() >= {*_CLIENT_PARTS}
    except (OSError, ValueError):
        return False


def _draw_bars(bars: Mapping[str, tuple[float, float]], name: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 1.3 + 0.27 * len(bars)), layout="constrained")
    axes = figure.subplots()
    compute, transmit = (list(part) for part in zip(*bars.values(), strict=True))
    parts = {"computing": compute, "transmitting": transmit}
    drawn = draw_stack(axes, [to_label(label) for label in bars], parts)
    axes.set(xlabel=name)
    draw_legend(figure, drawn)
    return figure
