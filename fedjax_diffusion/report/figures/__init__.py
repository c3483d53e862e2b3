"""Figures of a report, each drawn from its tables and the folders that they name."""

from fedjax_diffusion.report.figures.catalogue import list_figures, save_figures
from fedjax_diffusion.report.figures.named import NamedFigure

__all__ = ["NamedFigure", "list_figures", "save_figures"]
