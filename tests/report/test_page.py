"""The page of a report: complete, escaped, and without anything from elsewhere."""

import json
import re
import shutil
from html.parser import HTMLParser

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from fedjax_diffusion.host.images import append_to_strip
from fedjax_diffusion.report.curves import COSTS
from fedjax_diffusion.report.figures import NamedFigure
from fedjax_diffusion.report.page import render
from fedjax_diffusion.report.sheets import list_sheets
from fedjax_diffusion.report.sources import read_source
from fedjax_diffusion.report.study_figures import list_study_figures
from fedjax_diffusion.report.svg import figure_to_html
from fedjax_diffusion.runs import environment, records
from fedjax_diffusion.runs.pictures import STRIP
from fedjax_diffusion.runs.records import FAILED
from fedjax_diffusion.sweep.folder import open_sweep
from fedjax_diffusion.sweep.listing import find_folders
from tests.report.folders import HOSTILE, METHODS, make_played_sweep, rename_point, write_study
from tests.sweep.stubs import OLD

VOID = {"meta", "input", "img", "br", "wbr"}


class Page(HTMLParser):
    """Tags, attributes and texts of a page; it fails where a tag is not closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self._open = [], [], {}, []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for tag, name in self._open:
            key = name or tag
            self.texts[key] = self.texts.get(key, "") + data


def draw_points(tables):
    """Returns a figure with an artist and a label for each point."""
    figure = Figure()
    axes = figure.subplots()
    for number, row in enumerate(tables.index.to_pylist()):
        (dot,) = axes.plot([number], [1], "o", label=row["label"])
        dot.set_gid(f"point-{row['hash']}-{number}")
    axes.legend()
    return figure


def fail():
    raise FileNotFoundError("samples <b> are missing")


def make_page(workdir, *more):
    source = read_source(workdir)
    points = NamedFigure("points", "Points", "All of them.", lambda: draw_points(source.tables))
    return render(source, [points, *more])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A sweep whose first point has a label, a host and an error that are HTML."""
    workdir = make_played_sweep(tmp_path_factory.mktemp("report") / "sweep")
    rename_point(workdir, 0, HOSTILE)
    _, second, third, *_ = find_folders(open_sweep(workdir))
    found = environment.read(OLD / "run")
    (second / records.ENVIRONMENT).write_text(json.dumps(found | {"device": HOSTILE}))
    (third / FAILED).write_text(json.dumps({"error": f"ValueError: {HOSTILE}", "attempts": 1}))
    return workdir


def test_page_has_all_parts(hostile):
    page = Page(make_page(hostile))
    assert {"verdict", "points", "settings", "environment", "certificates", "failed", "repeat"} <= {
        *page.texts
    }
    assert "the same for all settings, 0.001071 J a run" in page.texts["verdict"]
    assert "5 evaluated, 1 failed" in page.texts["verdict"]
    assert "allocator.method" in page.texts["differences"]
    assert "largest relative gap among 12 rounds" in page.texts["certificates"]
    assert "--sweep.allocator.method=full_precision,fixed_bits:8" in page.texts["repeat"]
    assert page.tags.count("svg") == 1


def test_texts_of_a_folder_are_never_html(hostile):
    text = make_page(hostile, NamedFigure("bad", HOSTILE, HOSTILE, fail))
    page = Page(text)
    assert page.tags.count("script") == 1
    assert HOSTILE not in text
    for part in ("points", "failed", "environment", "warnings", "svg"):
        assert HOSTILE in page.texts[part], part


def test_page_asks_for_nothing_from_elsewhere(hostile):
    text = make_page(hostile)
    for tag, name, value in Page(text).attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
    assert not re.search(r"https?://|url\((?!#)|@import|\bfetch\(|XMLHttpRequest", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in re.search(r"script-src[^;]*", policy)[0]


def test_figure_that_cannot_be_drawn_is_a_warning(hostile):
    page = Page(make_page(hostile, NamedFigure("bad", "Samples", "Of a run.", fail)))
    assert "The figure 'Samples' cannot be drawn: FileNotFoundError" in page.texts["warnings"]
    assert "samples <b> are missing" in page.texts["warnings"]
    assert "figure-bad" not in page.texts


def test_points_of_a_figure_have_titles_to_hover_over(hostile):
    source = read_source(hostile)
    titles = re.findall(r"<g><title>(.*?)</title>", make_page(hostile))
    assert len(titles) == source.tables.index.num_rows
    assert titles[1] == "method-full-precision+seed-1, fcd 12.5, 0.001071 J, 0.02302 MB uploaded"


def test_large_figure_is_a_png(monkeypatch):
    figure = Figure()
    figure.subplots().plot([0, 1])
    assert figure_to_html(figure, "line", {}).startswith('<svg class="drawing"')
    monkeypatch.setattr("fedjax_diffusion.report.svg.MAX_SVG_CHARACTERS", 10)
    content = figure_to_html(figure, "line", {})
    assert content.startswith('<img class="drawing" alt="line" src="data:image/png;base64,')


def test_figures_of_a_page_share_no_names():
    figure = Figure()
    figure.subplots().plot([0, 1], "o-", label="a")
    names = [
        set(re.findall(r' id="([^"]*)"', figure_to_html(figure, name, {}))) for name in ("a", "b")
    ]
    assert names[0]
    assert not names[0] & names[1]


def test_different_versions_are_a_warning(tmp_path):
    workdir = make_played_sweep(tmp_path)
    first, second, *_ = find_folders(open_sweep(workdir))
    found = environment.read(OLD / "run")
    for folder, version in ((first, "0.10.1"), (second, "0.10.2")):
        (folder / records.ENVIRONMENT).write_text(json.dumps(found | {"jax": version}))
    page = Page(render(read_source(workdir), []))
    assert "The runs differ in jax" in page.texts["warnings"]
    assert "0.10.1 (1); 0.10.2 (1) differs" in page.texts["environment"]
    (first / records.ENVIRONMENT).write_text("{")
    assert "is damaged" in Page(render(read_source(workdir), [])).texts["warnings"]


def test_run_has_its_bill_and_its_quality(tmp_path):
    folder = find_folders(open_sweep(make_played_sweep(tmp_path / "sweep")))[0]
    page = Page(render(read_source(shutil.copytree(folder, tmp_path / "one")), []))
    assert "fixed_bits:8:max_frequency" in page.texts["methods"]
    assert "Quality: fcd 12.5 with 5000 images" in page.texts["verdict"]
    assert "fedjax-diffusion run --config=default" in page.texts["repeat"]


def test_study_has_its_own_figures_and_tables(tmp_path):
    study = write_study(tmp_path / "study")
    source = read_source(study.workdir)
    assert source.study == study
    page = Page(render(source, list_study_figures(study)))
    assert "50 % is reached in 4 of 4 settings" in page.texts["verdict"]
    assert "60" in page.texts["region"]
    own, others, _ = page.texts["certificates"].split(": ")[:3]
    assert "gap of on_demand among 9 settings is 0.1 %" in own
    assert others.endswith("the other methods is 0.4 %")
    assert "on_demand spends 1 J a round: 60.0 % less than full_precision" in page.texts["verdict"]
    assert "The folder does not record it." in page.texts["environment"]
    assert page.tags.count("figure") == 3
    assert "warnings" not in page.texts
    assert "fedjax-diffusion study --config=default" in page.texts["repeat"]
    records.write_json(study.workdir / records.ENVIRONMENT, environment.describe_host())
    page = Page(render(source, []))
    assert jax.__version__ in page.texts["environment"]
    assert "warnings" not in page.texts


def test_strip_of_a_run_is_shown(tmp_path):
    workdir = make_played_sweep(tmp_path / "sweep")
    folder = find_folders(open_sweep(workdir))[0]
    append_to_strip(folder / STRIP, np.zeros((3, 8, 8, 1), np.uint8), 10)
    page = Page(render(read_source(folder), []))
    assert "after so many rounds: 10." in page.texts["figure-strip"]
    (folder / STRIP).write_bytes(b"no picture")
    assert "strip.png cannot be shown" in Page(render(read_source(folder), [])).texts["warnings"]


def test_resources_to_a_target_are_a_table(tmp_path):
    sheets = dict(list_sheets(read_source(make_played_sweep(tmp_path))))
    (heading,) = (name for name in sheets if name.startswith("Resources until training loss"))
    rows = [[cell.text for cell in row] for row in sheets[heading].rows]
    assert [row[:2] for row in rows] == [[name, "3 of 3"] for name in METHODS]
    assert [column.name for column in sheets[heading].columns][2:] == [*COSTS.values()]
