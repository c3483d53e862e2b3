"""Stacked bars: which of them are cut, and what is said of them."""

import pytest
from matplotlib.figure import Figure

from fedjax_diffusion.host.figure_bars import draw_stack


@pytest.mark.parametrize(
    ("longest", "is_cut", "end"), [(100.0, False, 100.0), (110.0, False, 110.0), (500.0, True, 100)]
)
def test_a_bar_is_cut_where_it_does_not_fit_beside_the_others(longest, is_cut, end):
    axes = Figure().subplots()
    _, second = draw_stack(
        axes, ["one", "two"], {"a": [60.0, 1.0], "b": [40.0, longest - 1.0]}, 105.0
    )
    assert [text.get_text() for text in axes.texts] == [
        "100",
        f"{longest:g} (bar cut)" if is_cut else f"{longest:g}",
    ]
    width = axes.get_xlim()[1]
    assert width == pytest.approx(1.15 * end)
    bar = second.patches[1]
    assert bar.get_x() + bar.get_width() == pytest.approx(width if is_cut else longest)


def test_no_bar_that_is_whole_is_called_cut():
    axes = Figure().subplots()
    draw_stack(axes, ["a", "b", "c"], {"a": [2.9, 3.3, 3.7], "b": [0.0] * 3}, 3.0)
    assert [text.get_text() for text in axes.texts] == ["2.9", "3.3", "3.7"]
