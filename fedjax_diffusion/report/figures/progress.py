"""Figure of loss or quality against rounds, bytes, joules and simulated seconds."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from fedjax_diffusion.host.figure_labels import draw_legend
from fedjax_diffusion.host.figure_style import use_log_scale
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.report.curves import COSTS, read_curves
from fedjax_diffusion.report.figures.lines import choose_lines, draw_lines, make_handles
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import list_settings
from fedjax_diffusion.report.tables import ReportTables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSS, QUALITY = "loss", "quality"


def list_progress(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields a figure of each kind of quality measured along the runs, and one of the loss."""
    kinds = [(QUALITY, name, part) for name, part in split_by_quality(tables).items()]
    for number, (column, name, part) in enumerate([*kinds, (LOSS, "training loss", tables)]):
        if part.rounds.num_rows == 0 or part.rounds[column].null_count == part.rounds.num_rows:
            continue
        again = f"_{number + 1}" if column == QUALITY and number else ""
        yield NamedFigure(
            f"{column}_progress{again}",
            f"{name} against rounds, uploads, energy and simulated time",
            f"Best {name} so far (smaller is better) against what all rounds together have cost. "
            "Lines: means over the seeds; faint: single seeds. The last panel's seconds are "
            "rounds times deadline. Black, dashed: the reference, if there is one.",
            partial(draw_progress, part, column, name),
        )


def split_by_quality(tables: ReportTables) -> dict[str, ReportTables]:
    """Returns the rounds of the points whose quality was measured along their runs, by its name.

    The name holds the number of images, as ``fcd_500``: others are not comparable.
    """
    import pyarrow as pa

    if "quality_name" not in tables.rounds.column_names:
        return {}
    hashes = tables.rounds["hash"].to_pylist()
    names = tables.rounds["quality_name"].to_pylist()
    measured: dict[str, set[str]] = {}
    for own, name in zip(hashes, names, strict=True):
        if name is not None:
            measured.setdefault(name, set()).add(own)
    return {
        name: dataclasses.replace(
            tables, rounds=tables.rounds.filter(pa.array([own in points for own in hashes]))
        )
        for name, points in measured.items()
    }


@default_style()
def draw_progress(tables: ReportTables, column: str, name: str) -> "Figure":
    """Draws the best value so far over each cost, one panel per cost.

    Args:
      tables: whose values are comparable, see ``split_by_quality``.
      column: ``"loss"`` or ``"quality"``, of the table of rounds.
      name: of the value, for the axis.
    """
    from matplotlib.figure import Figure

    drawn = choose_lines(list_settings(tables), read_curves(tables), column)
    figure = Figure(figsize=(7.4, 6.0), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True)
    for axes, (cost, label) in zip(panels.flat, COSTS.items(), strict=True):
        draw_lines(axes, drawn, cost, column)
        axes.set_xlabel(label)
        if cost in ("uplink_bytes", "total_joules"):
            use_log_scale(axes.xaxis)
    use_log_scale(panels[0, 0].yaxis)
    for axes in panels[:, 0]:
        axes.set_ylabel(f"{name}, best so far")
    handles = make_handles(drawn)
    if len(handles) > 1:
        draw_legend(figure, handles)
    return figure
