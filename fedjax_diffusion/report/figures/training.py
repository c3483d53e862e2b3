"""Figure of one run: the six panels that its own folder has too."""

from collections.abc import Iterator
from functools import partial

from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.tables import ReportTables
from fedjax_diffusion.runs.figure import make_figure
from fedjax_diffusion.runs.records import METRICS


def list_training(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the figure of a run whose folder has rounds."""
    folder = tables.folders.get(tables.index["hash"][0].as_py())
    if tables.kind == "run" and folder is not None and (folder / METRICS).exists():
        yield NamedFigure(
            "training",
            "Rounds of the run",
            "Training loss; bits of the clients (line: mean, gray: smallest to largest); squared "
            "quantization error of the mean update with its bound and budget; joules and uploaded "
            "megabytes so far, on logarithmic axes, of this run and its baselines on the same "
            "channels; joules of all rounds for computing and transmitting.",
            partial(make_figure, folder),
        )
