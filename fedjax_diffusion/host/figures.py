"""Matplotlib figures that look the same for every user, and pictures that may fail."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedjax_diffusion.host.atomic import write_bytes
from fedjax_diffusion.host.outputs import SOFTWARE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOG = logging.getLogger(__name__)
_DOTS_PER_INCH = 120
_METADATA = {
    "png": {"Software": SOFTWARE},
    "pdf": {"Creator": SOFTWARE, "CreationDate": None},
    "svg": {"Creator": SOFTWARE, "Date": None},
}
FORMATS = tuple(_METADATA)
"""Formats in which a figure can be saved."""
_SETTINGS: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "font.size": 9.0,
    "grid.color": "0.9",
    "grid.linewidth": 0.7,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,  # text stays text, which some publishers ask for
    "svg.hashsalt": SOFTWARE,  # the same figure is the same file
}


@contextlib.contextmanager
def pictures_may_fail() -> Iterator[None]:
    """Turns the failure to draw or write a picture into a warning: it ends no work."""
    try:
        yield
    except Exception as error:  # of Matplotlib, Pillow, fonts and files
        reason = " ".join(str(error).split())[:200]
        _LOG.warning("a picture cannot be made, all else goes on without it: %s", reason)


@contextlib.contextmanager
def default_style() -> Iterator[None]:
    """Lets figures be drawn with this package's settings, not with a user's ``matplotlibrc``.

    Also a decorator of functions. The settings must be there when a figure is made, and when it is
    saved.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def to_drawable(text: str) -> str:
    r"""Returns a name for a figure as it is, whatever Matplotlib would read into it.

    Characters that the font lacks become escapes. A ``$`` begins no formula, and a ``_`` at the
    start keeps no name out of a legend.

    >>> print(to_drawable("_$" + chr(0x65E5)))
     _\$\u65e5
    """
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))  # Matplotlib brings it along
    known = (c if font.get_char_index(ord(c)) else ascii(c)[1:-1] for c in text)
    return " " * text.startswith("_") + "".join(known).replace("$", r"\$")


@default_style()
def save_figure(path: Path, figure: "Figure") -> None:
    """Saves a figure, complete or not at all; makes its folder if needed.

    Args:
      path: of the file; it ends in one of ``FORMATS``.
      figure: of Matplotlib.

    Raises:
      ValueError: the format is another one.
    """
    form = path.suffix.removeprefix(".")
    if form not in _METADATA:
        raise ValueError(f"{path}: a figure must end in .{' or .'.join(_METADATA)}")
    content = io.BytesIO()
    figure.savefig(content, dpi=_DOTS_PER_INCH, format=form, metadata=_METADATA[form])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())
