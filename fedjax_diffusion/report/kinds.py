"""Kinds of folders and files that a report deals with, seen from their content; without JAX."""

from pathlib import Path

from fedjax_diffusion.experiment.compare_config import parse_variant
from fedjax_diffusion.report.tables import Kind
from fedjax_diffusion.runs.records import CONFIG, METRICS
from fedjax_diffusion.sweep.listing import SWEEP, Listing, read_listing

PAGE = "report.html"
MARK = "fedjax-diffusion report"
"""Name of the maker in a page, by which a page is known that may be replaced."""
_MARK_BYTES = 2000
"""At the beginning of a page, within which the name stands."""
_STUDY_TABLE = "study.csv"
SEED_IN_LABEL = "+seed-"
"""Between the variant and the seed, in the label of a comparison's point."""


def find_kind(workdir: Path) -> Kind:
    """Returns the kind of a folder.

    Raises:
      ValueError: it holds neither a run nor a comparison, a study or a sweep, or a damaged one.
    """
    if (workdir / SWEEP).exists():
        return "comparison" if _is_comparison(read_listing(workdir)) else "sweep"
    if (workdir / _STUDY_TABLE).exists():
        return "study"
    if (workdir / METRICS).exists():
        return "run"
    if _has_old_runs(workdir):
        raise ValueError(
            f"{workdir} holds a comparison of an earlier version; repeat its compare command, "
            "which takes its runs over, or report one run of it"
        )
    if (workdir / CONFIG).exists():
        return "run"
    raise ValueError(
        f"{workdir} holds no run, comparison, study or sweep: it has neither {CONFIG} nor {SWEEP} "
        f"nor {_STUDY_TABLE}; give --workdir=FOLDER of one"
    )


def is_own_page(path: Path) -> bool:
    """Returns whether a file is the page of a report, which may be replaced."""
    with path.open("rb") as file:
        return f'content="{MARK}"'.encode() in file.read(_MARK_BYTES)


def _is_comparison(listing: Listing) -> bool:
    try:
        names = {parse_variant(text).name for text in listing.base["compare"]["variants"]}
    except (KeyError, TypeError, ValueError):
        return False
    return any(point.label.rpartition(SEED_IN_LABEL)[0] in names for point in listing.points)


def _has_old_runs(workdir: Path) -> bool:
    return any(workdir.glob(f"*/seed_*/{CONFIG}"))
