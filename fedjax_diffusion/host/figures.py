"""Matplotlib figures that look the same for every user."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fedjax_diffusion.host.atomic import write_bytes
from fedjax_diffusion.host.outputs import SOFTWARE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 120


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
