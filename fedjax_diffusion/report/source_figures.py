"""Figures of the folder of a run, comparison, study or sweep."""

from pathlib import Path

from fedjax_diffusion.report.figures import NamedFigure, list_figures
from fedjax_diffusion.report.sources import Source, read_source
from fedjax_diffusion.report.study_figures import list_study_figures


def read_figures(workdir: str | Path) -> list[NamedFigure]:
    """Returns the figures of a folder as its report shows them, none of them drawn yet.

    A figure whose numbers are not in the folder is not among them.

    Args:
      workdir: the folder of a run, comparison, study or sweep; it is not changed.

    Raises:
      ValueError: the folder holds nothing of this kind, or the file that lists its points or
        settings is damaged.
    """
    return list_source_figures(read_source(workdir))


def list_source_figures(source: Source) -> list[NamedFigure]:
    """Returns the figures of a folder that was read."""
    if source.study is not None:
        return list_study_figures(source.study)
    return list_figures(source.tables)
