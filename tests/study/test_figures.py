"""Figures: what they show is what the rows say, and any study can be drawn."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fedjax_diffusion.host.figures import save_figure
from fedjax_diffusion.study import Cell, play_points, to_cells
from fedjax_diffusion.study.figures import draw_region, draw_sweep
from tests.study.scenarios import METHODS, scenario_of, study_of

ALL_METHODS = ["on_demand", *METHODS]


@pytest.fixture(scope="module")
def points():
    return play_points(scenario_of(), study_of(rounds=2, time_budgets_seconds=(3.4, 6.0, 20.0)))


def curves_of(axes):
    return [line for line in axes.lines if line.get_linestyle() not in ("None", "none")]


@pytest.mark.parametrize("sweep", ["time_budget", "distance"])
def test_a_line_per_method_through_its_rows(points, sweep):
    axes = draw_sweep(points, sweep, "title").axes
    energy, bottom = axes[0], axes[-1]
    assert len(axes) == (2 if sweep == "time_budget" else 1), "nobody is late by distance"
    swept = [point for point in points if point.sweep == sweep]
    x = [p.time_budget_seconds if sweep == "time_budget" else p.distance_meters for p in swept]
    lines = [line for line in curves_of(energy) if len(line.get_xdata()) == len(x)]
    assert len(lines) == len(ALL_METHODS)
    for line, method in zip(lines, ALL_METHODS, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), x)
        joules = [point.row(method).joules_per_client for point in swept]
        np.testing.assert_array_equal(line.get_ydata(), joules)
    looks = {(line.get_color(), line.get_linestyle()) for line in lines}
    dashed = {line.get_color() for line in lines if line.get_linestyle() == "--"}
    assert len(looks) >= 6
    assert len(dashed) == 2, "full_precision and fixed_bits:8 at full frequency"
    assert (energy.get_xscale(), energy.get_yscale()) == ("log", "log")
    assert energy.get_ylabel().endswith(", J")
    assert (
        bottom.get_xlabel()
        == {
            "time_budget": "deadline T",
            "distance": "distance of every client, m",
        }[sweep]
    )


def test_every_line_has_its_name_beside_its_end_and_no_two_touch(points):
    energy, _ = draw_sweep(points, "time_budget", "title").axes
    labels = {text.get_text(): text for text in energy.texts}
    assert set(labels) == set(ALL_METHODS)
    last = [point for point in points if point.sweep == "time_budget"][-1]
    by_energy = sorted(ALL_METHODS, key=lambda method: last.row(method).joules_per_client)
    heights = np.array([labels[method].get_position()[1] for method in by_energy])
    assert (np.diff(heights) > 0.035).all()
    assert heights.max() <= 1


def test_names_of_lines_that_end_together_at_the_top_stay_beside_the_axes(points):
    first, *_, last = [point for point in points if point.sweep == "time_budget"]
    low = [row._replace(joules_per_client=1e-3) for row in first.rows]
    high = [row._replace(joules_per_client=1.0) for row in last.rows]
    together = [first._replace(rows=low), last._replace(rows=high)]
    energy, _ = draw_sweep(together, "time_budget", "title").axes
    heights = np.sort([text.get_position()[1] for text in energy.texts])
    assert heights.max() <= 1
    assert (np.diff(heights) > 0.035).all()


def test_points_with_a_late_client_are_hollow(points):
    energy, _ = draw_sweep(points, "time_budget", "title").axes
    hollow = {}
    for line in energy.lines:
        if line.get_marker() == "o" and line.get_markerfacecolor() == "white":
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
                hollow[x, y] = True
    expected = {
        (point.time_budget_seconds, row.joules_per_client): True
        for point in points
        if point.sweep == "time_budget"
        for row in point.rows
        if row.late
    }
    assert hollow == expected
    assert hollow


def test_nobody_late_needs_no_panel_and_a_covered_line_says_so(points):
    calm = [
        point._replace(rows=[row._replace(late=0, joules_per_client=1.0) for row in point.rows])
        for point in points
        if point.sweep == "time_budget" and not point.rows[0].infeasible
    ]
    (energy,) = draw_sweep(calm, "time_budget", "title").axes
    first, *others = ALL_METHODS
    assert {t.get_text() for t in energy.texts} == {first, *(f"{m} = {first}" for m in others)}


def test_the_map_says_what_the_cells_say(points):
    cells = to_cells(points)
    own, floor = draw_region(cells, "on_demand", (50.0, 99.0), "title").axes
    assert "on_demand" in own.get_title()
    for axes, name in ((own, "saved_percent"), (floor, "floor_percent")):
        texts = [text.get_text() for text in axes.texts]
        assert len(texts) == len(cells)
        for cell, text in zip(cells, texts, strict=True):
            percent = int(np.floor(getattr(cell, name)))
            assert text == (f"({percent})" if cell.is_late else f"{percent}")
        values = np.asarray(axes.images[0].get_array())
        np.testing.assert_allclose(values.ravel(), [getattr(cell, name) for cell in cells])


def test_holes_and_goals_that_are_never_or_always_reached_can_be_drawn():
    cells = [Cell(1.0, 50.0, None, None, False), Cell(2.0, 50.0, 60.0, 70.0, True)]
    figure = draw_region(cells, "demand", (50.0, 99.0), "title")
    assert [text.get_text() for text in figure.axes[0].texts] == ["-", "(60)"]
    figure.draw_without_rendering()
    config = study_of(rounds=1, time_budgets_seconds=(0.01, 20.0))
    sparse = play_points(scenario_of(), config)
    draw_sweep(sparse, "time_budget", "title").draw_without_rendering()
    none = [point for point in sparse if point.time_budget_seconds < 1]
    draw_sweep(none, "time_budget", "title").draw_without_rendering()


def test_a_picture_is_written_whole_or_not_at_all(points, tmp_path, monkeypatch):
    figure = draw_sweep(points, "distance", "title")
    path = tmp_path / "figure.png"
    save_figure(path, figure)
    pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))
    assert min(pixels.shape[:2]) > 500
    assert len(np.unique(pixels @ (1, 1 << 8, 1 << 16))) > 10, "not blank"
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(path, Figure())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
