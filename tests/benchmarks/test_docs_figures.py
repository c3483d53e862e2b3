"""Pictures of the docs: each has a command, and those of committed results show these."""

import functools
from pathlib import Path

import numpy as np
import pytest

from benchmarks import docs_figures
from benchmarks.docs_figures import GROUPS, IMAGES, read_results
from fedjax_diffusion import load_config
from fedjax_diffusion.host.image_files import open_image
from fedjax_diffusion.host.images import append_to_strip
from fedjax_diffusion.host.outputs import SOFTWARE
from fedjax_diffusion.runs.pictures import STRIP
from tests.report.folders import write_study
from tests.runs.test_figure import make_record, write_run

ROOT = IMAGES.parents[1]
PAGES = "".join(path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
RECORDS = [make_record(round) for round in range(2)]


@functools.cache
def draw(group):
    """Returns the figures of a group by name, drawn once for all tests."""
    return {name: draw_it() for name, draw_it in GROUPS[group]()}


def draw_only(group):
    """Returns the one figure of a group."""
    (figure,) = draw(group).values()
    return figure


def list_texts(figure):
    """Returns the names in a figure's legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def write_run_with_strip(config, folder):
    """Leaves the files of a run that are drawn, as ``run`` does."""
    assert config.sampling.fixed_noise
    write_run(Path(folder), RECORDS)
    for number in (1, 3):
        images = np.full((8, 8, 8, 1), 50 * number, np.uint8)
        append_to_strip(Path(folder, STRIP), images, number)


def test_a_strip_names_the_rounds_of_its_rows(tmp_path):
    write_run_with_strip(load_config("digits", {"sampling.fixed_noise": True}), tmp_path)
    (axes,) = docs_figures.draw_strip(tmp_path / STRIP).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "3"]
    pixels, places = axes.images[0].get_array(), axes.get_yticks().astype(int)
    assert [pixels[place, pixels.shape[1] // 16] for place in places] == [50, 150]


def check_samples(figure):
    """Asserts that the images stand by bit width, in a row of updates and one of models."""
    panels = np.reshape(figure.axes, (2, 6))
    assert [axes.get_title() for axes in panels[0]][::5] == ["1 bit", "float32"]
    assert [axes.get_ylabel() for axes in panels[:, 0]] == ["updates", "models"]
    assert all(axes.images for axes in figure.axes)


def test_pictures_of_the_docs_are_those_of_the_commands_that_the_docs_name(monkeypatch):
    monkeypatch.setattr(docs_figures, "run", write_run_with_strip)
    monkeypatch.setattr(docs_figures, "run_study", lambda _, folder: write_study(Path(folder, "s")))
    names = []
    for group in GROUPS:
        for name, draw_it in GROUPS[group]():
            names.append(name)
            if name == "ablation_samples.png":
                check_samples(draw_it())
    assert sorted(names) == sorted(path.name for path in IMAGES.iterdir())
    assert [name for name in names if f"images/{name})" not in PAGES] == []
    unnamed = [name for name in GROUPS if f"benchmarks.docs_figures --only={name}`" not in PAGES]
    assert unnamed == []


@pytest.mark.parametrize("path", sorted(IMAGES.iterdir()), ids=lambda path: path.name)
def test_pictures_are_signed_as_those_of_this_version(path):
    """Older ones bear the name of Matplotlib or none."""
    with open_image(path, ("PNG",)) as picture:
        picture.load()
        assert picture.info["Software"] == SOFTWARE


def test_theorem_names_the_bound_and_shows_the_ratios():
    figure = draw_only("theorem")
    assert "bound of the quantizer stochastic" in list_texts(figure)
    left, right = figure.axes
    for number, name in enumerate(("update, adam", "model", "spread evenly")):
        row = read_results("theorem")[name]
        np.testing.assert_array_equal(right.lines[number].get_ydata(), row["ratio"])
        np.testing.assert_array_equal(left.lines[2 * number].get_ydata(), row["bound"])


def test_quantizers_are_held_against_float32_with_the_same_seed():
    results = read_results("quantizers")["by_quantizer_and_bits"]
    panels = draw_only("quantizers").axes
    for axes, column in zip(panels, ("uplink_bytes", "coded_bytes"), strict=True):
        shown = {tuple(line.get_xydata().ravel()) for line in axes.lines}
        row, reference = results["stochastic, per tensor"]["2"], results["float32"]["32"]
        percent = [100 * (a / b - 1) for a, b in zip(row["loss"], reference["loss"], strict=True)]
        x, y = np.mean(row[column]) / 1e6, np.mean(percent)
        assert any(np.allclose(point, (x, y)) for point in shown if len(point) == 2)


def test_no_leader_of_a_name_crosses_another_name():
    figure = draw_only("paper_digits_quality")
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = {text: text.get_window_extent() for text in axes.texts}
        leaders = [text for text in axes.texts if text.arrow_patch is not None]
        assert len(boxes) == 7
        for text in leaders:
            start, end = (axes.transData.transform(text.xy), np.mean(boxes[text], axis=0))
            places = start + np.linspace(0, 1, 50)[:, None] * (end - start)
            others = [box.padded(-3) for other, box in boxes.items() if other is not text]
            assert not any(box.contains(*place) for box in others for place in places)
