"""Figures of a report, each drawn from its tables alone."""

from fedjax_diffusion.report.figures.catalogue import list_figures, save_figures, write_figures
from fedjax_diffusion.report.figures.named import NamedFigure

__all__ = ["NamedFigure", "list_figures", "save_figures", "write_figures"]
