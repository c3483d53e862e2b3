"""Figures of the folder of a run, comparison, study or sweep."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from fedjax_diffusion.compare.figure import draw_comparison
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
    return [*_list_variants(source), *list_figures(source.tables)]


def _list_variants(source: Source) -> Iterator[NamedFigure]:
    """Yields the figure of a comparison whose points do not show all runs: others hold them."""
    comparison = source.comparison
    if comparison is not None and comparison.variants and source.num_elsewhere:
        tolerance_percent = source.base.compare.tolerance_percent
        yield NamedFigure(
            "variants",
            "Quality of the variants against energy and uploads",
            f"Distance of the images ({comparison.runs[0].measure}; smaller is better) against "
            f"joules and uploaded megabytes of a run, of all {len(comparison.runs)} compared runs, "
            f"also those of other folders. Dots: {comparison.variants[0].num_seeds} seeds of each "
            "variant; bars: 95 % intervals of Student's t, from three seeds on; shaded: within the "
            "tolerance of the reference; dashed: held-out real images.",
            partial(draw_comparison, comparison.variants, comparison.runs, tolerance_percent),
        )
