"""Figure as part of a page: SVG with titles to hover over, or PNG where that is smaller."""

import base64
import html
import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedjax_diffusion.host.figures import default_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_SVG_CHARACTERS = 400_000
"""Of one figure; a larger one is a PNG."""
_DOTS_PER_INCH = 110
_NOT_NEEDED = (
    re.compile(r"^.*?(?=<svg)", re.DOTALL),  # declarations, which name addresses
    re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL),
    re.compile(r"\s*<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL),  # would style the page
    re.compile(r' xmlns(?::xlink)?="[^"]*"'),
    re.compile(r' id="(?!C\d)[A-Za-z][\w.]*_\d+"'),  # of groups: they are the same in every figure
    re.compile(r"^ +", re.MULTILINE),
)
_POINT = re.compile(r'<g id="point-([0-9a-f]+)-[^"]*">')


def figure_to_html(figure: "Figure", name: str, titles: Mapping[str, str]) -> str:
    """Returns a figure as an element of HTML that needs no other file.

    Args:
      figure: an artist that stands for a point has the group name ``point-HASH-N``.
      name: of the figure, unique on its page, for the names of its parts.
      titles: text that is shown over the artists of a point, by hash.
    """
    import matplotlib

    content = io.StringIO()
    with default_style():
        matplotlib.rcParams["svg.fonttype"] = "none"  # a text can be found and copied, and is small
        matplotlib.rcParams["svg.hashsalt"] = name
        figure.savefig(content, format="svg", transparent=True)
    if len(content.getvalue()) > MAX_SVG_CHARACTERS:
        return _to_png(figure, name)
    return _add_titles(_clean(content.getvalue()), titles)


def _clean(text: str) -> str:
    """Returns an SVG file as an element, without what a page does not need."""
    for pattern in _NOT_NEEDED:
        text = pattern.sub("", text)
    kind = "picture" if "<image" in text else "drawing"
    return re.sub(r"<svg ", f'<svg class="{kind}" role="img" ', text, count=1)


def _add_titles(text: str, titles: Mapping[str, str]) -> str:
    def add(match: re.Match[str]) -> str:
        title = html.escape(titles.get(match[1], ""))
        return f"<g><title>{title}</title>" if title else "<g>"

    return _POINT.sub(add, text)


def _to_png(figure: "Figure", name: str) -> str:
    content = io.BytesIO()
    with default_style():
        figure.savefig(content, format="png", dpi=_DOTS_PER_INCH)
    return png_to_html(content.getvalue(), name, "drawing")


def png_to_html(content: bytes, name: str, kind: str = "picture") -> str:
    """Returns a PNG as an element of HTML.

    Args:
      content: of the file.
      name: text in its place, where pictures are not shown.
      kind: ``"picture"``, or ``"drawing"``, whose colors may be turned around on a dark page.
    """
    data = base64.b64encode(content).decode()
    return f'<img class="{kind}" alt="{html.escape(name)}" src="data:image/png;base64,{data}">'
