"""Notebooks from their sources: ``NAME.py`` in percent format becomes ``NAME.ipynb``.

    python notebooks/convert.py

Edit the sources, never the notebooks: they have no outputs and are made again. Editors and jupytext
open the sources as notebooks too. A cell begins with ``# %%``, one of text with ``# %% [markdown]``
and its lines are comments; ``tags=["parameters"]`` marks the one cell that holds the sizes.
"""

import json
import pathlib
import re
from typing import Any

FOLDER = pathlib.Path(__file__).resolve().parent
CELL = re.compile(r"^# %%(?P<is_text> \[markdown\])?(?: tags=(?P<tags>\[.*\]))?\n", re.MULTILINE)


def find_sources() -> list[pathlib.Path]:
    """Returns the paths of the sources, in the order of their numbers."""
    return sorted(FOLDER.glob("[0-9]*.py"))


def source_to_notebook(source: str) -> dict[str, Any]:
    """Returns the notebook of a source in percent format, nbformat 4.5 without outputs.

    Args:
      source: begins with a cell.

    Raises:
      ValueError: there is something before the first cell.
    """
    marks = list(CELL.finditer(source))
    if not marks or marks[0].start():
        raise ValueError("a source must begin with a cell: '# %%' or '# %% [markdown]'")
    ends = [mark.start() for mark in marks[1:]] + [len(source)]
    cells = [
        _make_cell(number, mark, source[mark.end() : end].strip("\n"))
        for number, (mark, end) in enumerate(zip(marks, ends, strict=True))
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def to_text(notebook: dict[str, Any]) -> str:
    """Returns the content of a notebook's file."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _make_cell(number: int, mark: re.Match[str], body: str) -> dict[str, Any]:
    metadata = {"tags": json.loads(mark["tags"])} if mark["tags"] else {}
    cell: dict[str, Any] = {"id": f"cell-{number}", "metadata": metadata}
    if mark["is_text"]:
        text = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        return {"cell_type": "markdown", **cell, "source": text.splitlines(keepends=True)}
    lines = body.splitlines(keepends=True)
    return {"cell_type": "code", "execution_count": None, **cell, "outputs": [], "source": lines}


if __name__ == "__main__":
    for path in find_sources():
        path.with_suffix(".ipynb").write_text(to_text(source_to_notebook(path.read_text())))
