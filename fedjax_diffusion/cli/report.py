"""The command ``report``: it reads a folder, draws, and writes the page and the figures."""

from pathlib import Path

from fedjax_diffusion.cli.console import LoopDisplay
from fedjax_diffusion.host.atomic import write_text
from fedjax_diffusion.report.figures import save_figures
from fedjax_diffusion.report.page import render
from fedjax_diffusion.report.source_figures import list_source_figures
from fedjax_diffusion.report.sources import read_source


def write(workdir: Path, output: Path, figures: Path | None, form: str) -> int:
    """Writes the page of a folder, and its figures as files if a folder for them is given.

    Args:
      workdir: of a run, comparison, study or sweep.
      output: of the page.
      figures: folder of the figures, or None.
      form: of these files, one of ``FORMATS``.

    Returns:
      The exit code.

    Raises:
      ValueError: the folder cannot be read, or a file cannot be written.
    """
    source = read_source(workdir)
    drawn = list_source_figures(source)
    display = LoopDisplay("figure")
    page = render(source, drawn, track=display.track)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, page)
        paths = [] if figures is None else save_figures(drawn, figures, (form,), display)
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}; choose another place") from None
    print(output, *paths, sep="\n")
    return 0
