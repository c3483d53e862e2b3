"""Figures of a report, each drawn from its tables alone."""

from fedjax_diffusion.report.figures.named import NamedFigure

__all__ = ["NamedFigure"]
