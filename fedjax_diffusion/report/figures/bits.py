"""Figures of bits: the clients' mean over the rounds, and every client's in one run."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedjax_diffusion.host.figure_style import use_bits_scale
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.report.curves import read_curves
from fedjax_diffusion.report.figures.lines import choose_lines, draw_over_rounds
from fedjax_diffusion.report.figures.marks import MAX_SHOWN
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import list_settings
from fedjax_diffusion.report.tables import ReportTables
from fedjax_diffusion.runs.records import METRICS, iterate_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMN = "mean_bits"


def list_bits(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the mean bits of the settings, and the clients' bits if there is one run alone."""
    if _COLUMN in tables.rounds.column_names and tables.rounds[_COLUMN].null_count < len(
        tables.rounds
    ):
        yield NamedFigure(
            "mean_bits",
            "Bits per parameter over the rounds",
            "Bits per parameter of a round, mean over its uploads and over the seeds, on a "
            "logarithmic axis; faint: single seeds. Of more than ten settings those that fix the "
            "bits are left out.",
            partial(draw_mean_bits, tables),
        )
    if tables.kind == "run":
        folder = tables.folders.get(tables.index["hash"][0].as_py())
        if folder is not None and (folder / METRICS).exists():
            yield NamedFigure(
                "client_bits",
                "Bits of every client",
                "Bits per parameter of each client's upload in each round; white: the client was "
                "not in the cohort, or was left out.",
                partial(draw_client_bits, folder),
            )


def draw_mean_bits(tables: ReportTables) -> "Figure":
    """Draws the mean bits of the uploads over the rounds, one line per setting."""
    settings = list_settings(tables)
    if len(settings) > MAX_SHOWN:
        settings = [s for s in settings if s.num_bits is None] or settings
    drawn = choose_lines(settings, read_curves(tables), _COLUMN, "value")
    return draw_over_rounds(drawn, _COLUMN, "value", "bits per parameter", use_bits_scale)


@default_style()
def draw_client_bits(folder: Path) -> "Figure":
    """Draws the bits of every client over the rounds of a run, in shades.

    Args:
      folder: of the run.
    """
    import matplotlib
    from matplotlib.colors import BoundaryNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    bits = _read_client_bits(folder)
    widths = np.unique(bits[bits > 0]) if (bits > 0).any() else np.array([1])
    edges = np.concatenate([[widths[0] - 0.5], (widths[:-1] + widths[1:]) / 2, [widths[-1] + 0.5]])
    colors = matplotlib.colormaps["cividis_r"].resampled(max(len(widths), 2))
    figure = Figure(figsize=(7.4, min(7.0, 2.4 + 0.12 * len(bits))), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(
        np.ma.masked_equal(bits, 0),
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        cmap=colors,
        norm=BoundaryNorm(edges, colors.N),
        extent=(0.5, bits.shape[1] + 0.5, -0.5, len(bits) - 0.5),
    )
    axes.grid(visible=False)
    axes.set(xlabel="round", ylabel="client")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    bar = figure.colorbar(image, ax=axes, label="bits per parameter", spacing="uniform")
    bar.set_ticks(((edges[:-1] + edges[1:]) / 2).tolist(), labels=[str(width) for width in widths])
    bar.minorticks_off()
    return figure


def _read_client_bits(folder: Path) -> np.ndarray:
    """Returns the bits of each client and round, int [K, rounds]; 0: it sent nothing."""
    rounds = [(line["cohort"], line["num_bits"]) for line in iterate_metrics(folder)]
    bits = np.zeros((1 + max(max(cohort, default=0) for cohort, _ in rounds), len(rounds)), int)
    for number, (cohort, num_bits) in enumerate(rounds):
        bits[cohort, number] = num_bits
    return bits
