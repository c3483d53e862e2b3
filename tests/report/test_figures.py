"""Figures of a report: what is drawn is what the tables say, and no text lies on another."""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.text import Text

from fedjax_diffusion.report.figures import list_figures
from tests.report import made_up
from tests.report.made_up import (
    FLOOR,
    METHODS,
    NUM_ROUNDS,
    bytes_of,
    hash_of,
    joules_of,
    loss_of,
    make_tables,
    quality_of,
)

SEEDS = range(5)
OF_A_SWEEP = [
    *("frontier", "differences", "target", "quality_progress", "loss_progress", "bit_widths"),
    *("mean_bits", "energy_rounds", "energy_parts", "energy_deadline", "error_bits"),
]


@pytest.fixture(scope="module")
def drawn():
    """All figures of a sweep of methods and two deadlines, by name."""
    tables = make_tables(deadlines=(20.0, 40.0))
    return {figure.name: figure.draw() for figure in list_figures(tables)}


@pytest.fixture(scope="module")
def plain():
    """All figures of a sweep of methods alone, by name."""
    return {figure.name: figure.draw() for figure in list_figures(make_tables())}


def lines_of(axes, **looks):
    return [
        line
        for line in axes.lines
        if all(getattr(line, f"get_{name}")() == value for name, value in looks.items())
    ]


def mean_of(value, method):
    return np.mean([value(method, seed) for seed in SEEDS])


def test_a_sweep_has_the_figures_that_its_tables_allow(drawn):
    assert list(drawn) == OF_A_SWEEP
    empty = make_tables()
    empty = dataclasses.replace(empty, index=empty.index.slice(0, 0))
    assert list_figures(empty) == []


def test_captions_are_sentences_with_the_number_of_seeds():
    for figure in list_figures(make_tables()):
        assert figure.caption.endswith("."), figure.name
        assert figure.title
    captions = {figure.name: figure.caption for figure in list_figures(make_tables(num_seeds=3))}
    assert "3 seeds per setting" in captions["frontier"]
    assert "(3 pairs)" in captions["differences"]


def check_texts(name, figure):
    """Asserts that no text lies on another or leaves the figure."""
    figure.draw_without_rendering()
    boxes = []
    for axes in figure.axes:
        texts = [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [
                tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high
            ]
        boxes += [
            (text.get_text(), Text.get_window_extent(text))  # without a leader
            for text in texts
            if text.get_text() and text.get_visible()
        ]
    boxes += [
        (text.get_text(), text.get_window_extent())
        for legend in figure.legends
        for text in legend.get_texts()
    ]
    for (a, one), (b, other) in itertools.combinations(boxes, 2):
        width = min(one.x1, other.x1) - max(one.x0, other.x0)
        height = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(width, height) <= 1.5, f"{name}: {a!r} lies on {b!r}"
    frame = figure.bbox
    for text, box in boxes:
        assert frame.x0 - 1 <= box.x0, f"{name}: {text!r} is cut"
        assert box.x1 <= frame.x1 + 1, f"{name}: {text!r} is cut"


def test_no_text_lies_on_another_or_leaves_the_figure(drawn, plain):
    for name, figure in drawn.items():
        check_texts(name, figure)
    for name in ("frontier", "differences"):  # with names of methods, not of deadlines
        check_texts(name, plain[name])


def test_any_name_is_drawn_as_it_is():
    """As a formula it would be an error, and characters without a glyph a warning."""
    name = r"a$\frac{$" + chr(0x65E5)
    tables = make_tables(["fixed_bits:2", "full_precision"], variant=name)
    named = {"differences", "target", "energy_rounds"}
    figures = {f.name: f.draw() for f in list_figures(tables) if f.name in named}
    assert figures.keys() == named
    for figure in figures.values():
        figure.draw_without_rendering()
        texts = " ".join(text.get_text() for text in figure.findobj(Text))
        assert r"a\$\frac{\$\u65e5" in texts


def test_ticks_of_many_rounds_are_apart_in_narrow_panels(monkeypatch):
    monkeypatch.setattr(made_up, "NUM_ROUNDS", 121)
    figures = {figure.name: figure for figure in list_figures(make_tables(num_seeds=1))}
    figure = figures["bit_widths"].draw()
    check_texts("bit_widths", figure)
    panel = figure.axes[0]
    assert {50, 100} <= {*panel.get_xticks()}
    assert panel.get_yscale() == "log"


def test_the_uncertainty_of_the_front_takes_three_seeds():
    for num_seeds, is_shown in ((2, False), (3, True)):
        (frontier,) = (
            f for f in list_figures(make_tables(num_seeds=num_seeds)) if f.name == "frontier"
        )
        figure = frontier.draw()
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert ("10 to 90 % of them" in names, bool(figure.axes[0].collections)) == (is_shown,) * 2


def test_the_frontier_has_a_dot_per_seed_the_means_and_their_front(plain):
    joules, megabytes = plain["frontier"].axes
    for axes, cost, unit in ((joules, joules_of, 1.0), (megabytes, lambda m, _: bytes_of(m), 1e-6)):
        dots = {line.get_gid(): line.get_data() for line in axes.lines if line.get_gid()}
        assert len(dots) == len(METHODS) * len(SEEDS)
        panel = [joules, megabytes].index(axes)
        for method, seed in itertools.product(METHODS, SEEDS):
            x, y = dots[f"point-{hash_of(method, seed)}-{panel}"]
            assert y[0] == quality_of(method, seed)
            assert x[0] == pytest.approx(NUM_ROUNDS * cost(method, seed) * unit)
        front = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
        expected = [
            NUM_ROUNDS * unit * mean_of(cost, method)
            for method in ("fixed_bits:2", "on_demand", "fixed_bits:8", "full_precision")
        ]
        np.testing.assert_allclose(front.get_xdata()[:-1], expected)
        assert axes.get_xscale() == "log"
        assert {text.get_text() for text in axes.texts} == {
            *("2 bits", "8 bits", "float32", "on_demand")
        }
    assert joules.get_ylabel() == "fcd, smaller is better"
    assert f"{FLOOR:g}" in joules.get_title(loc="left")


def test_a_diverged_setting_does_not_hide_the_others(plain):
    scales = [axes.get_yscale() for axes in plain["frontier"].axes]
    assert scales == ["linear", "linear"]
    assert plain["differences"].axes[0].get_xscale() == "linear"
    tables = make_tables()
    place = tables.index.schema.get_field_index("quality")
    method = np.array(tables.index["allocator.method"].to_pylist())
    quality = np.where(method == "fixed_bits:2", 5000.0, tables.index["quality"].to_numpy())
    tables = dataclasses.replace(
        tables, index=tables.index.set_column(place, "quality", pa.array(quality))
    )
    figures = {figure.name: figure for figure in list_figures(tables)}
    for axes in figures["frontier"].draw().axes:
        assert axes.get_yscale() == "log"
        assert axes.get_ylim()[0] <= FLOOR <= axes.get_ylim()[1]
    axes = figures["differences"].draw().axes[0]
    assert axes.get_xscale() == "symlog"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "100", "10,000"]


def test_qualities_of_other_numbers_of_images_never_share_an_axis():
    tables = make_tables()
    rows = tables.index.to_pylist()
    for row in rows[::5]:
        row["num_samples"], row["quality"] = 200, 1000.0
    mixed = dataclasses.replace(tables, index=pa.Table.from_pylist(rows))
    figures = {f.name: f for f in list_figures(mixed) if f.name.startswith("frontier")}
    assert list(figures) == ["frontier", "frontier_2"]
    assert "2000 images" in figures["frontier"].title
    assert "200 images" in figures["frontier_2"].title
    heights = {
        name: [
            y for line in figure.draw().axes[0].lines if line.get_gid() for y in line.get_ydata()
        ]
        for name, figure in figures.items()
    }
    assert max(heights["frontier"]) < 1000
    assert set(heights["frontier_2"]) == {1000.0}


def test_progress_is_the_best_so_far_against_each_cost(plain):
    rounds, megabytes, joules, seconds = plain["loss_progress"].axes
    for method in METHODS:
        best = np.mean(
            [
                np.minimum.accumulate([loss_of(method, seed, r) for r in range(NUM_ROUNDS)])
                for seed in SEEDS
            ],
            axis=0,
        )
        number = np.arange(1, NUM_ROUNDS + 1)
        for axes, cost in (
            (rounds, number),
            (megabytes, number * bytes_of(method) / 1e6),
            (joules, number * mean_of(joules_of, method)),
            (seconds, number * 20.0),
        ):
            found = [line for line in axes.lines if np.allclose(line.get_ydata(), best, rtol=1e-9)]
            assert any(np.allclose(line.get_xdata(), cost) for line in found), method
    assert [axes.get_xlabel() for axes in (megabytes, joules)] == ["uploaded, MB", "energy, J"]


def test_float32_is_in_every_panel_of_a_bit_width(plain):
    panels = plain["bit_widths"].axes
    titles = [axes.get_title() for axes in panels]
    assert titles == ["2 bits", "8 bits", "bits chosen by the method"]
    (float32,) = {
        tuple(line.get_ydata()) for line in lines_of(panels[0], color="#000000", zorder=2.5)
    }
    for axes in panels[1:]:
        assert any(tuple(line.get_ydata()) == float32 for line in axes.lines)


def test_bars_say_the_energy_of_computing_and_transmitting(plain):
    (axes,) = plain["energy_parts"].axes
    compute, transmit = axes.containers
    for bars, share in ((compute, 0.25), (transmit, 0.75)):
        for bar, method in zip(bars, METHODS, strict=True):
            total = NUM_ROUNDS * mean_of(joules_of, method)
            assert bar.get_width() == pytest.approx(share * total)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(METHODS)


def test_energy_against_the_deadline_has_a_line_per_method(drawn):
    (axes,) = drawn["energy_deadline"].axes
    assert {text.get_text() for text in axes.texts} == set(METHODS)
    for method in METHODS:
        expected = [
            NUM_ROUNDS * np.mean([joules_of(method, seed, seconds) for seed in SEEDS])
            for seconds in (20.0, 40.0)
        ]
        assert any(
            list(line.get_xdata()) == [20.0, 40.0] and np.allclose(line.get_ydata(), expected)
            for line in axes.lines
        )
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_the_error_and_its_bound_are_means_over_the_rounds(plain):
    (axes,) = plain["error_bits"].axes
    dots = {
        (x, y)
        for line in axes.lines
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    for bits in (2.0, 5.0, 8.0):
        error, bound = 3.5 * 4.0**-bits, 9 * 4.0**-bits
        assert any(x == bits and y == pytest.approx(error) for x, y in dots)
        assert any(x == bits and y == pytest.approx(bound) for x, y in dots)
    assert not any(x == 32.0 for x, _ in dots)
    legend = [text.get_text() for text in plain["error_bits"].legends[0].get_texts()]
    assert legend == ["fixed bits", "on_demand", "bound"]
