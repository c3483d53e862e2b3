"""Figure of the labels of every client, for each division of the data."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import SEED, format_values
from fedjax_diffusion.report.tables import ReportTables
from fedjax_diffusion.runs.records import CONFIG

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_GROUPS = ("partition.", "data.")
_MAX_PANELS, _COLUMNS = 6, 2
_MAX_SEPARATE = 40
"""Clients from which on they are ordered by their most frequent label."""


def list_labels(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the figure if any point has its settings in its folder."""
    found = list_partitions(tables)
    parts = dict(list(found.items())[:_MAX_PANELS])
    if parts:
        yield NamedFigure(
            "labels",
            "Labels of the clients",
            "Number of training examples of each label that a client has, with the lowest seed; "
            f"of more than {_MAX_SEPARATE} clients those with the same most frequent label stand "
            "together." + f" The first {_MAX_PANELS} of {len(found)} divisions." * (found != parts),
            partial(draw_labels, parts),
        )


def list_partitions(tables: ReportTables) -> dict[str, Path]:
    """Returns a run folder for each division of the data over clients, by the division's name.

    It is of the lowest seed.
    """
    keys = [key for key in tables.axes if key.startswith(_GROUPS)]
    found: dict[str, Path] = {}
    for row in sorted(tables.rows, key=lambda row: row[SEED]):
        folder = tables.folders.get(row["hash"])
        if folder is not None and (folder / CONFIG).exists():
            found.setdefault(format_values(row, keys), folder)
    return found


@default_style()
def draw_labels(partitions: dict[str, Path]) -> "Figure":
    """Draws the number of examples by client and label, one panel for each division of the data.

    Args:
      partitions: run folder by name, from ``list_partitions``.

    Raises:
      ValueError: the data of a run are not there.
    """
    from matplotlib.figure import Figure

    counts = {name: count_labels(folder) for name, folder in partitions.items()}
    columns = min(_COLUMNS, len(counts))
    rows = -(-len(counts) // columns)
    figure = Figure(figsize=(7.4 if columns > 1 else 5.4, 0.5 + 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(counts) :]:
        axes.remove()
    for axes, (name, matrix) in zip(panels.flat, counts.items(), strict=False):
        image = _draw_counts(axes, matrix)
        figure.colorbar(image, ax=axes, label="examples")
        axes.set_title(name)
    return figure


def count_labels(folder: Path) -> np.ndarray:
    """Returns the number of examples by client and label of a run, int [K, classes].

    Args:
      folder: of the run; its data are loaded.
    """
    from fedjax_diffusion.data import load_images, partition  # they import JAX
    from fedjax_diffusion.runs.folder import read_config

    config = read_config(folder)
    dataset = load_images(**vars(config.data))
    parts = partition(dataset.labels, config.partition, seed=config.seed)
    return _count(dataset.labels, parts, dataset.num_classes)


def _count(labels: np.ndarray, parts: Sequence[np.ndarray], num_classes: int) -> np.ndarray:
    return np.stack([np.bincount(labels[part], minlength=num_classes) for part in parts])


def _draw_counts(axes: "Axes", counts: np.ndarray) -> "AxesImage":
    from matplotlib.ticker import MaxNLocator

    is_ordered = len(counts) > _MAX_SEPARATE
    if is_ordered:
        counts = counts[np.lexsort((-counts.sum(axis=1), counts.argmax(axis=1)))]
    image = axes.imshow(
        counts.T, cmap="Greys", vmin=0, aspect="auto", interpolation="nearest", origin="lower"
    )
    axes.grid(visible=False)
    axes.set(xlabel="client, in order of labels" if is_ordered else "client", ylabel="label")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    return image
