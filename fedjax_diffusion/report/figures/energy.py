"""Figure of energy against rounds."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from fedjax_diffusion.host.figure_labels import label_ends
from fedjax_diffusion.host.figure_style import use_log_scale
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.report.curves import COSTS, read_curves
from fedjax_diffusion.report.figures.lines import choose_lines, draw_named_lines
from fedjax_diffusion.report.figures.marks import describe_others
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import list_settings
from fedjax_diffusion.report.tables import ReportTables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMN = "total_joules"


def list_energy(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the figure if any round was played."""
    if tables.rounds.num_rows == 0:
        return
    drawn = choose_lines(list_settings(tables), read_curves(tables), _COLUMN, "total")
    yield NamedFigure(
        "energy_rounds",
        "Energy against rounds",
        "Energy of computing and transmitting, all rounds so far together, in joules on a "
        "logarithmic axis, against completed rounds; means over the seeds, faint: single seeds."
        + describe_others(sum(one.look is None for one in drawn)),
        partial(draw_energy, tables),
    )


@default_style()
def draw_energy(tables: ReportTables) -> "Figure":
    """Draws the joules spent so far over the rounds, one line per setting."""
    from matplotlib.figure import Figure

    drawn = choose_lines(list_settings(tables), read_curves(tables), _COLUMN, "total")
    figure = Figure(figsize=(7.4, 4.2), layout="constrained")
    axes = figure.subplots()
    labels = draw_named_lines(axes, drawn, _COLUMN, "total")
    axes.set(xlabel=COSTS["round"], ylabel=f"{COSTS[_COLUMN]}, all rounds so far")
    use_log_scale(axes.yaxis)
    label_ends(axes, labels)
    return figure
