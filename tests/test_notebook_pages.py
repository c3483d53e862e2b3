"""Executed copies of the notebooks: of today's sources, small, and by themselves."""

import base64
import importlib
import io
import pathlib
import re

import nbformat
import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))
MAX_BYTES = 500_000
SOURCE = '# %% [markdown]\n# # A title & more\n\n# %%\nprint("<" + "5 * 2 =", 5 * 2)\n'


@pytest.fixture
def execute(monkeypatch):
    """The module notebooks/execute.py, whose neighbour it imports."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("execute")


def to_output(picture):
    """Returns the output of a cell that shows a picture."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    data = {"image/png": base64.b64encode(content.getvalue()).decode(), "text/plain": "<Figure>"}
    return nbformat.v4.new_output("display_data", data=data)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_page_is_of_todays_source_and_small_and_loads_nothing(execute, source):
    """After a change: python notebooks/execute.py NAME."""
    page = ROOT / f"docs/notebooks/{source.stem}.html"
    text = page.read_text()
    assert f'content="{execute.hash_source(source.read_text())}"' in text
    assert page.stat().st_size <= MAX_BYTES
    assert text.count('src="data:image/png;base64,') >= 1
    assert re.findall(r'<script|<link|src="(?!data:)|@import|url\(', text) == []
    assert f"](notebooks/{page.name})" in (ROOT / "docs/index.md").read_text()


def test_a_source_is_executed_and_shown_as_text(execute, tmp_path):
    path = tmp_path / "07_mine.py"
    path.write_text(SOURCE)
    text = execute.write_page(path, tmp_path).read_text()
    assert "<title>A title &amp; more</title>" in text
    assert "&lt;5 * 2 = 10" in text
    assert "notebooks/execute.py 07_mine" in text


def test_pictures_get_few_colors_and_stay_as_large(execute):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 60, 4), dtype=np.uint8)
    noise[:20, :, 3] = 0  # transparent: white on a page
    notebook = nbformat.v4.new_notebook()
    cell = nbformat.v4.new_code_cell("1")
    warning = nbformat.v4.new_output("stream", name="stderr", text="slow")
    cell.outputs = [warning, to_output(Image.fromarray(noise))]
    notebook.cells = [nbformat.v4.new_markdown_cell("text"), cell]
    execute.shrink(notebook)
    (output,) = cell.outputs
    assert list(output.data) == ["image/png"]
    with Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))) as picture:
        assert picture.size == (60, 40)
        assert len(picture.getcolors()) <= execute.NUM_COLORS
        assert np.asarray(picture.convert("RGB"))[:20].min() > 240


def test_lines_that_were_printed_one_after_the_other_are_one_text(execute):
    cell = nbformat.v4.new_code_cell("1")
    cell.outputs = [
        nbformat.v4.new_output("stream", name=name, text=text)
        for name, text in (("stdout", "a\n"), ("stderr", "slow\n"), ("stdout", "b\n"))
    ]
    execute.shrink(nbformat.v4.new_notebook(cells=[cell]))
    assert [output.text for output in cell.outputs] == ["a\nb\n"]


def test_an_unknown_notebook_is_one_line_of_error(execute, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["execute.py", "09_none"])
    with pytest.raises(SystemExit):
        execute.main()
    assert "09_none is no notebook; choose among 01_quickstart" in capsys.readouterr().err
