"""Look of what is drawn: colors, markers and dashes that differ in grey and to the color-blind."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from fedjax_diffusion.host.figures import to_drawable

if TYPE_CHECKING:
    from matplotlib.axis import Axis

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Palette of M. Okabe and K. Ito, "Color Universal Design", 2008, without its yellow and black."""
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = COLORS
BLACK = "#000000"
"""Color of the reference, and of fronts."""
FAINT = "0.72"
"""Gray of the things in the background."""
_MARKERS = "osD^vPX"
_DASHES = (
    "-",
    (0, (5, 1.6)),
    (0, (1.2, 1.2)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (6, 1.5, 1.2, 1.5, 1.2, 1.5)),
)
_MAX_NAME = 44
_BIT_TICKS = (1, 2, 4, 8, 16, 32)


class Look(NamedTuple):
    """Look of one line with its markers.

    Attributes:
      color: of Matplotlib.
      marker: of Matplotlib.
      dashes: line style of Matplotlib.
    """

    color: str
    marker: str
    dashes: Any

    @property
    def line(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot`` for a line without markers."""
        return {"color": self.color, "linestyle": self.dashes}

    @property
    def dot(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot`` for markers without a line."""
        return {"color": self.color, "marker": self.marker, "linestyle": "none"}


def make_looks(names: Iterable[str]) -> dict[str, Look]:
    """Returns a look for each name: of 42 names no two have the same color and marker.

    >>> looks = make_looks(str(number) for number in range(42))
    >>> len({(look.color, look.marker) for look in looks.values()})
    42
    """
    return {
        name: Look(
            COLORS[number % len(COLORS)],
            _MARKERS[number % len(_MARKERS)],
            _DASHES[number % len(_DASHES)],
        )
        for number, name in enumerate(dict.fromkeys(names))
    }


def shorten_name(name: str, longest: int = _MAX_NAME) -> str:
    """Returns a name that fits beside a figure: of a long one the middle is left out.

    Args:
      name: of anything.
      longest: letters of the result, >= 5.

    >>> shorten_name("on_demand"), len(shorten_name("x" * 100))
    ('on_demand', 44)
    """
    half = (longest - 3) // 2
    return name if len(name) <= longest else f"{name[: longest - 3 - half]}...{name[-half:]}"


def to_label(name: str, longest: int = _MAX_NAME) -> str:
    r"""Returns a name as Matplotlib draws it: it fits beside a figure, and is no formula.

    Args:
      name: of anything.
      longest: letters of the name, >= 5.

    >>> print(to_label("a$b$"))
    a\$b\$
    """
    return to_drawable(shorten_name(name, longest))


def use_log_scale(axis: "Axis") -> None:
    """Gives an axis with its data drawn a logarithmic scale with few plain numbers: 0.5, 3e-05.

    An axis without any value above zero stays as it is.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes = axis.axes
    if axis.get_data_interval()[1] <= 0:
        return
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    if high / low < 5:
        axis.set_major_locator(MaxNLocator(4))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 60 else (1,), numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def use_percent_scale(axis: "Axis") -> None:
    """Gives an axis with its data drawn a scale that is logarithmic beyond 100 %, if much is there.

    So a difference of thousands of percent does not hide those of a few.
    """
    axes = axis.axes
    low, high = axis.get_data_interval()
    if max(abs(low), abs(high)) < 1000:
        return
    set_scale = axes.set_xscale if axis is axes.xaxis else axes.set_yscale
    set_scale("symlog", linthresh=100)
    ends = [10.0**n for n in range(2, 13, 2)]
    ticks = [-end for end in reversed(ends) if end <= -low] + [0.0]
    ticks += [end for end in ends if end <= high]
    axis.set_ticks(ticks, labels=[f"{tick:,.0f}" for tick in ticks])
    axis.set_ticks([], minor=True)


def use_bits_scale(axis: "Axis") -> None:
    """Gives an axis with its data drawn the scale of bit widths: 1, 2, 4, 8, 16, 32.

    An axis without any value above zero stays as it is.
    """
    low, high = axis.get_data_interval()
    if high <= 0:
        return
    axes = axis.axes
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    axis.set_ticks(_BIT_TICKS, labels=[str(width) for width in _BIT_TICKS])
    axis.set_ticks([], minor=True)
    axis.set_view_interval(min(low if low > 0 else 1, 2) / 1.2, max(high, 8) * 1.2, ignore=True)
