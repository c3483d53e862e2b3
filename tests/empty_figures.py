"""Figures that are left empty where no test looks at them: Matplotlib takes a second for each."""

import dataclasses

from matplotlib.figure import Figure

from fedjax_diffusion.cli import report
from fedjax_diffusion.compare import runner as comparison
from fedjax_diffusion.study import folder as study

LIST_FIGURES = report.list_source_figures


def leave_figures_empty(patch):
    """Leaves the figures of studies, of comparisons and of the command ``report`` empty."""
    for place, name in (
        (study, "draw_sweep"),
        (study, "draw_region"),
        (comparison, "draw_comparison"),
    ):
        patch.setattr(place, name, make_empty)
    patch.setattr(report, "list_source_figures", list_empty)


def make_empty(*_, **__):
    """Returns a figure without anything."""
    return Figure((1, 1))


def list_empty(source):
    """Returns the figures of a folder, which draw nothing."""
    return [dataclasses.replace(figure, draw=make_empty) for figure in LIST_FIGURES(source)]
