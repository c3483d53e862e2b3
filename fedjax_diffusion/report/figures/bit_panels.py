"""Figure with a panel per bit width, float32 in every panel."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from fedjax_diffusion.host.figure_labels import draw_legend
from fedjax_diffusion.host.figure_style import BLACK, Look, use_log_scale
from fedjax_diffusion.host.figures import default_style
from fedjax_diffusion.report.curves import COSTS, read_curves
from fedjax_diffusion.report.figures.lines import Drawn, choose_lines, draw_lines, make_handles
from fedjax_diffusion.report.figures.named import NamedFigure
from fedjax_diffusion.report.figures.progress import LOSS, QUALITY, split_by_quality
from fedjax_diffusion.report.settings import UNQUANTIZED_BITS, format_bits, list_settings
from fedjax_diffusion.report.tables import ReportTables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CHOSEN = "bits chosen by the method"
_UNQUANTIZED = Look(BLACK, "", (0, (4, 2.5)))
_COLUMNS = 3


def list_bit_panels(tables: ReportTables) -> Iterator[NamedFigure]:
    """Yields the figure if float32 and two or more other bit widths were swept."""
    settings = list_settings(tables)
    widths = {setting.num_bits for setting in settings}
    if UNQUANTIZED_BITS not in widths or len(widths) < 3 or tables.rounds.num_rows == 0:
        return
    measured = split_by_quality(tables)
    name, part = next(iter(measured.items()), ("training loss", tables))
    column = QUALITY if measured else LOSS
    yield NamedFigure(
        "bit_widths",
        f"{name} at each bit width",
        f"Best {name} so far (smaller is better) against completed rounds, mean of the seeds; one "
        "panel per bit width. Dashed and black in every panel: float32.",
        partial(draw_bit_panels, part, column, name),
    )


@default_style()
def draw_bit_panels(tables: ReportTables, column: str, name: str) -> "Figure":
    """Draws the best value so far over the rounds, in one panel for each bit width.

    Args:
      tables: whose values are comparable.
      column: ``"loss"`` or ``"quality"``, of the table of rounds.
      name: of the value, for the axis.
    """
    from matplotlib.figure import Figure

    drawn = choose_lines(list_settings(tables), read_curves(tables), column)
    unquantized = [
        one._replace(look=_UNQUANTIZED) for one in drawn if one.setting.num_bits == UNQUANTIZED_BITS
    ]
    titles = _list_panels(drawn)
    rows = -(-len(titles) // _COLUMNS)
    figure = Figure(figsize=(7.4, 0.8 + 2.1 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(titles) :]:
        axes.remove()
    for axes, (title, own) in zip(panels.flat, titles.items(), strict=False):
        draw_lines(axes, [*own, *unquantized], "round", column)
        axes.set_title(title)
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in panels.flat[max(0, len(titles) - _COLUMNS) : len(titles)]:
        axes.set_xlabel(COSTS["round"])
    use_log_scale(panels[0, 0].yaxis)
    for axes in panels[:, 0]:
        axes.set_ylabel(f"{name}, best so far")
    handles = make_handles([one for own in titles.values() for one in own])
    float32 = make_handles(unquantized[:1])
    for handle in float32:
        handle.set_label("float32")
    if len(handles) > len(titles):
        draw_legend(figure, [*float32, *handles])
    else:
        panels.flat[0].legend(handles=float32, loc="best")
    return figure


def _list_panels(drawn: Sequence[Drawn]) -> dict[str, list[Drawn]]:
    """Returns the settings of each panel by its title, in the order of bits."""
    fixed = {one.setting.num_bits or UNQUANTIZED_BITS for one in drawn}
    widths = sorted(fixed - {UNQUANTIZED_BITS})
    panels = {
        format_bits(bits): [one for one in drawn if one.setting.num_bits == bits] for bits in widths
    }
    if chosen := [one for one in drawn if one.setting.num_bits is None]:
        panels[_CHOSEN] = chosen
    return panels
