"""A figure of a report with its name, title and caption."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class NamedFigure:
    """A figure that can be drawn.

    An artist that stands for one point has the group name ``point-HASH-N``, which is its ``id`` in
    an SVG.

    Attributes:
      name: stem of its file.
      title: a few words.
      caption: one or two sentences with units, number of seeds and kind of interval.
      draw: returns the figure, each time a new one. It raises an error if a file that it needs is
        missing or damaged.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], "Figure"]
