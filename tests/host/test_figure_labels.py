"""Names beside points: it is clear which name belongs to which point."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from fedjax_diffusion.host.figure_labels import Label, label_points


def measure_gaps(box, points):
    """Returns the distance of each point from a box, float [n]."""
    low, high = np.array([box.x0, box.y0]), np.array([box.x1, box.y1])
    return np.hypot(*np.maximum(np.maximum(low - points, points - high), 0).T)


@pytest.mark.parametrize("seed", range(4))
def test_a_name_is_nearest_to_its_point_or_a_line_leads_to_it(seed):
    generator = np.random.default_rng(seed)
    axes = Figure(figsize=(4, 3)).subplots()
    points = 0.5 + 0.1 * generator.normal(size=(6, 2))
    for x, y in points:  # intervals: a name beside its point would cover some of them
        axes.plot([x, x], [y - 0.3, y + 0.3])
    axes.set(xlim=(0, 1), ylim=(0, 1))
    label_points({axes: [Label(x, y, f"{i} bits", "k") for i, (x, y) in enumerate(points)]})
    assert len(axes.texts) == len(points)
    axes.figure.draw_without_rendering()
    places = axes.transData.transform(points)
    for text in axes.texts:
        own, gaps = int(text.get_text()[0]), measure_gaps(Text.get_window_extent(text), places)
        is_led = text.arrow_patch is not None
        assert is_led or gaps.argmin() == own


def test_a_name_leaves_the_intervals_where_there_is_room():
    """As in an ablation of bits, whose means lie close to each other, in pixels."""
    figure = Figure(figsize=(3, 3), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-150, 150), ylim=(-150, 150))
    points = np.array([[-78, 126], [-39, 8], [-17, 0], [0, 0], [39, -4], [110, 3]])
    for x, y in points:
        axes.plot([x, x], [y - 38, y + 38])
    axes.plot(*points.T)
    for y in (-5, -21, -39):  # front, median of the fronts, held-out images
        axes.plot([-17, 150], [y, y])
    label_points({axes: [Label(x, y, f"{i} bits", "k") for i, (x, y) in enumerate(points)]})
    figure.draw_without_rendering()
    assert len(axes.texts) == len(points)
    for text in axes.texts:
        box = Text.get_window_extent(text)
        for x, y in points + 150:
            is_beside = not box.x0 < x < box.x1
            assert is_beside or box.y0 > y + 38 or box.y1 < y - 38, text.get_text()
