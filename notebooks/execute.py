"""Executed copies of the notebooks with their pictures: ``docs/notebooks/NAME.html``.

    python notebooks/execute.py                    # all of them
    python notebooks/execute.py 03_quantization    # some

A page loads nothing. It names the SHA-256 of the source that it was made from, by which a test
finds those that are to be made again.
"""

import argparse
import base64
import hashlib
import html
import io
import pathlib
import string
import tempfile
import time

import nbformat
from convert import FOLDER, find_sources, source_to_notebook, to_text
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from PIL import Image
from pygments.formatters import HtmlFormatter

PAGES = FOLDER.parent / "docs/notebooks"
NUM_COLORS = 64
"""Of a picture: enough for lines and small images, at a third of the bytes."""
SECONDS_PER_CELL = 3600


def execute(source: str) -> NotebookNode:
    """Returns the notebook of a source with its outputs; it runs in a folder that is removed.

    Raises:
      CellExecutionError: a cell has failed.
    """
    notebook = nbformat.reads(to_text(source_to_notebook(source)), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=SECONDS_PER_CELL, resources=resources).execute()
    return notebook


def shrink(notebook: NotebookNode) -> None:
    """Gives pictures fewer colors, joins printed lines, and removes the text of stderr."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        outputs: list[NotebookNode] = []
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data = {"image/png": _reduce_colors(output.data["image/png"])}
            if output.get("name") == "stdout" and outputs and outputs[-1].get("name") == "stdout":
                outputs[-1].text += output.text
            elif output.get("name") != "stderr":
                outputs.append(output)
        cell.outputs = outputs


def _reduce_colors(text: str) -> str:
    content = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        flat = Image.new("RGB", picture.size, "white")
        flat.paste(picture, mask=picture.getchannel("A") if picture.mode == "RGBA" else None)
        flat.quantize(NUM_COLORS).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def render(notebook: NotebookNode, name: str, source: str, date: str) -> str:
    """Returns the page of an executed notebook.

    Args:
      notebook: with its outputs.
      name: of its file, without the ending.
      source: from which it was made.
      date: of its execution.
    """
    body, _ = HTMLExporter(template_name="basic", exclude_anchor_links=True).from_notebook_node(
        notebook
    )
    return string.Template((FOLDER / "page.html").read_text()).substitute(
        title=html.escape(source.partition("\n")[2].partition("\n")[0].lstrip("# ")),
        source_sha256=hash_source(source),
        colors=HtmlFormatter(style="default").get_style_defs(".highlight"),
        name=name,
        date=date,
        body=body,
    )


def hash_source(source: str) -> str:
    """Returns the SHA-256 of a source as hexadecimal digits."""
    return hashlib.sha256(source.encode()).hexdigest()


def write_page(path: pathlib.Path, folder: pathlib.Path = PAGES) -> pathlib.Path:
    """Executes the notebook of a source, writes its page into a folder, and returns its path."""
    source = path.read_text()
    notebook = execute(source)
    shrink(notebook)
    page = folder / f"{path.stem}.html"
    page.write_text(render(notebook, path.stem, source, time.strftime("%Y-%m-%d")))
    return page


def main() -> None:
    """Writes the pages of the chosen notebooks."""
    sources = {path.stem: path for path in find_sources()}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of notebooks (default: all)")
    names = parser.parse_args().names
    if unknown := [name for name in names if name not in sources]:
        parser.error(f"{unknown[0]} is no notebook; choose among {', '.join(sources)}")
    for name in names or sources:
        print(write_page(sources[name]), flush=True)


if __name__ == "__main__":
    main()
