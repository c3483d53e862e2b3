"""Matplotlib figures that look the same for every user, and pictures that may fail."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fedjax_diffusion.host.atomic import write_bytes
from fedjax_diffusion.host.outputs import SOFTWARE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOG = logging.getLogger(__name__)
_DOTS_PER_INCH = 120


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
    """Lets figures be drawn with Matplotlib's own settings, not with a user's ``matplotlibrc``.

    Also a decorator of functions. The settings must be there when a figure is made, and when it is
    saved.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@default_style()
def save_figure(path: Path, figure: "Figure") -> None:
    """Saves a figure as PNG, complete or not at all; makes its folder if needed."""
    content = io.BytesIO()
    figure.savefig(content, dpi=_DOTS_PER_INCH, format="png", metadata={"Software": SOFTWARE})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())
