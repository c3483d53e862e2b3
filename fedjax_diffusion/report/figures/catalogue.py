"""All figures of a report, in the order in which they are shown."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fedjax_diffusion.host.figures import FORMATS, save_figure
from fedjax_diffusion.host.progress import SILENT, Progress
from fedjax_diffusion.report.figures.bit_panels import list_bit_panels
from fedjax_diffusion.report.figures.bits import list_bits
from fedjax_diffusion.report.figures.conditions import list_conditions
from fedjax_diffusion.report.figures.differences import list_differences
from fedjax_diffusion.report.figures.energy import list_energy
from fedjax_diffusion.report.figures.errors import list_errors
from fedjax_diffusion.report.figures.frontier import list_frontiers
from fedjax_diffusion.report.figures.labels import list_labels
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.figures.progress import list_progress
from fedjax_diffusion.report.figures.samples import list_samples
from fedjax_diffusion.report.figures.shares import list_shares
from fedjax_diffusion.report.figures.targets import list_targets
from fedjax_diffusion.report.figures.training import list_training
from fedjax_diffusion.report.tables import ReportTables

_LISTS = (
    list_training,
    list_frontiers,
    list_differences,
    list_targets,
    list_progress,
    list_bit_panels,
    list_bits,
    list_energy,
    list_shares,
    list_conditions,
    list_errors,
    list_samples,
    list_labels,
)


def list_figures(tables: ReportTables) -> list[NamedFigure]:
    """Returns the figures that these tables allow, none of them drawn yet.

    A figure whose numbers are not in the tables is not among them.
    """
    if tables.index.num_rows == 0:
        return []
    return [figure for list_some in _LISTS for figure in list_some(tables)]


def save_figures(
    figures: Iterable[NamedFigure],
    folder: str | Path,
    formats: Sequence[str] = ("pdf",),
    progress: Progress = SILENT,
) -> list[Path]:
    """Draws figures and writes them into a folder, made if needed.

    A figure that cannot be drawn is named in a line of ``progress``, and the others are written.

    Args:
      figures: of ``list_figures``.
      folder: of the files; those of the same names are replaced.
      formats: some of ``"png"``, ``"pdf"`` and ``"svg"``.
      progress: shows the figure that is drawn.

    Returns:
      The paths of the files.

    Raises:
      ValueError: a format is another one. OSError: a file cannot be written.
    """
    if unknown := [form for form in formats if form not in FORMATS]:
        raise ValueError(f"formats: must be some of {', '.join(FORMATS)}; got {unknown[0]!r}")
    paths = []
    for figure in figures:
        with progress.watch(f"drawing {figure.name}"):
            try:
                drawn = figure.draw()
            except Exception as error:  # of Matplotlib, fonts, files that are missing or damaged
                progress.tell(f"{figure.name} is left out: {error}")
                continue
            for form in formats:
                paths.append(Path(folder) / f"{figure.name}.{form}")
                save_figure(paths[-1], drawn)
    return paths
