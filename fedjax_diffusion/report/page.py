"""Page of a report: one HTML file that loads nothing else."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from fedjax_diffusion.host.images import read_rows
from fedjax_diffusion.host.tables import format_cell
from fedjax_diffusion.host.version import __version__
from fedjax_diffusion.report.certificate import describe_gaps
from fedjax_diffusion.report.environments import read_facts
from fedjax_diffusion.report.figures import NamedFigure
from fedjax_diffusion.report.kinds import MARK
from fedjax_diffusion.report.recipe import format_command, list_changes
from fedjax_diffusion.report.sheet import Sheet, make_sheet
from fedjax_diffusion.report.sheets import list_sheets
from fedjax_diffusion.report.sources import Source
from fedjax_diffusion.report.svg import figure_to_html, png_to_html
from fedjax_diffusion.report.verdict import ask, judge
from fedjax_diffusion.runs.pictures import STRIP
from fedjax_diffusion.sweep.identity import shorten_rows

TEMPLATES = "templates"
_MAX_VALUES = 20
"""Most values of a setting that are listed."""
Track = Callable[[Sequence[NamedFigure]], Iterable[NamedFigure]]
"""Wrapper of the iteration over figures that may show the progress."""


class Drawing(NamedTuple):
    """A figure on a page.

    Attributes:
      name: unique on the page.
      title: a few words.
      caption: one or two sentences.
      content: the element of HTML.
    """

    name: str
    title: str
    caption: str
    content: Markup


def render(source: Source, figures: Sequence[NamedFigure], *, track: Track = iter) -> str:
    """Returns the page of a folder as HTML.

    A figure that cannot be drawn is a warning on the page.

    Args:
      source: of the folder.
      figures: of its tables.
      track: wraps the iteration over the figures.

    Guarantees:
      The page loads nothing: no address of the network is in it, and its policy of content forbids
      every request. Texts of the folder are shown as text, never as HTML.
    """
    drawings, undrawn = _draw(source, figures, track)
    is_study = source.study is not None
    folders = [source.workdir] if is_study else source.tables.folders.values()
    facts, differences = read_facts(folders, source.tables.axes, are_runs=not is_study)
    style, script = (_read(name) for name in ("page.css", "page.js"))
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template("page.html").render(
        mark=MARK,
        title=source.tables.title,
        kind=source.tables.kind,
        version=__version__,
        written=datetime.now(UTC).isoformat(sep=" ", timespec="minutes")[:16],
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        question=ask(source),
        verdict=judge(source),
        warnings=[*source.warnings, *differences, *undrawn],
        sheets=list_sheets(source),
        drawings=drawings,
        axes=_list_axes(source),
        changes=_list_changes(source),
        facts=facts,
        gaps=describe_gaps(source.tables),
        failures=_list_failures(source),
        command=format_command(
            source.tables.kind,
            source.base,
            source.overrides,
            str(source.workdir),
            source.tables.reference,
        ),
    )


def _breakable(text: str) -> Markup:
    """Returns a text as HTML whose names break at their joints, not in a word or before a number.

    >>> _breakable("fixed_bits:8 < 9")
    Markup('fixed_<wbr>bits:8 &lt; 9')
    """
    return Markup(re.sub(r"([_:+])(?=[^\W\d])", r"\1<wbr>", str(escape(text))))


def _draw(
    source: Source, figures: Sequence[NamedFigure], track: Track
) -> tuple[list[Drawing], list[str]]:
    """Returns the figures that can be drawn, and a warning for each other one."""
    titles = _list_titles(source)
    drawings, warnings = [], []
    for figure in track(figures):
        try:
            content = Markup(figure_to_html(figure.draw(), figure.name, titles))
        except Exception as error:  # of Matplotlib, fonts, files that are missing or damaged
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            warnings.append(f"The figure {figure.title!r} cannot be drawn: {reason}")
            continue
        drawings.append(Drawing(figure.name, figure.title, figure.caption, content))
    return [*drawings, *_find_strip(source, warnings)], warnings


def _find_strip(source: Source, warnings: list[str]) -> Iterator[Drawing]:
    """Yields the strip of a run, if it has one; a damaged one adds to the warnings."""
    path = source.workdir / STRIP
    if source.tables.kind != "run" or not path.exists():
        return
    try:
        rounds = ", ".join(map(str, read_rows(path)))
        content = Markup(png_to_html(path.read_bytes(), "images of one noise"))
    except (OSError, ValueError) as error:
        warnings.append(f"{path} cannot be shown: {error}")
        return
    caption = f"Each row is drawn from the same noise, after so many rounds: {rounds}."
    yield Drawing("strip", "Images of one noise along the run", caption, content)


def _list_titles(source: Source) -> dict[str, str]:
    """Returns the text to hover over a point, by hash."""
    if source.study is not None:
        return {}
    return {row["hash"]: _to_title(row) for row in source.tables.rows}


def _to_title(row: Mapping[str, Any]) -> str:
    facts = [row["label"]]
    if row["quality"] is not None:
        facts.append(f"{row['quality_name']} {format_cell(row['quality'])}")
    if row["total_joules"] is not None:
        facts.append(f"{format_cell(row['total_joules'])} J")
        facts.append(f"{row['uplink_bytes'] / 1e6:.4g} MB uploaded")
    return ", ".join(facts)


def _list_axes(source: Source) -> Sheet:
    """Returns the settings that differ between points, each with its values."""
    rows = []
    for key in source.tables.axes:
        counts = Counter(str(shorten_rows(row[key])) for row in source.tables.rows)
        texts = [f"{value} ({number})" for value, number in counts.most_common(_MAX_VALUES)]
        more = len(counts) - _MAX_VALUES
        texts += [f"and {more} more"] * (more > 0)
        rows.append({"setting": key, "values (points)": "; ".join(texts)})
    return make_sheet("differences", rows)


def _list_changes(source: Source) -> Sheet:
    """Returns the settings of all points that differ from the defaults."""
    changes = list_changes(source.tables.kind, source.config)
    rows = [
        {"setting": key, "value": str(shorten_rows(value))}
        for key, value in changes.items()
        if key not in source.tables.axes
    ]
    return make_sheet("changes", rows)


def _list_failures(source: Source) -> Sheet:
    """Returns the points that failed, diverged, or have lost their process."""
    if source.study is not None:
        return make_sheet("failures", [])
    names = ("label", "status", "error")
    rows = [
        {name: row[name] for name in names}
        for row in source.tables.rows
        if row["status"] in ("failed", "diverged", "stale")
    ]
    return make_sheet("failures", rows)


def _read(name: str) -> str:
    """Returns a file of the templates."""
    return (resources.files("fedjax_diffusion.report") / TEMPLATES / name).read_text("utf-8")
