"""Figure of energy against rounds."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from fedjax_diffusion.host.figure_style import use_log_scale
from fedjax_diffusion.report.curves import COSTS, read_curves
from fedjax_diffusion.report.figures.lines import choose_lines, draw_over_rounds
from fedjax_diffusion.report.figures.marks import describe_others
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.settings import list_settings
from fedjax_diffusion.report.tables import ReportTables

if TYPE_CHECKING:
    pass

_COLUMN = "total_joules"


def list_energy(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the figure if any round was played."""
    if tables.rounds.num_rows == 0:
        return
    drawn = choose_lines(list_settings(tables), read_curves(tables), _COLUMN, "total")
    name = f"{COSTS[_COLUMN]}, all rounds so far"
    yield NamedFigure(
        "energy_rounds",
        "Energy against rounds",
        "Energy of computing and transmitting, all rounds so far together, in joules on a "
        "logarithmic axis, against completed rounds; means over the seeds, faint: single seeds."
        + describe_others(sum(one.look is None for one in drawn)),
        partial(draw_over_rounds, drawn, _COLUMN, "total", name, use_log_scale),
    )
