"""Every notebook runs from its first cell to its last, at a small size."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((pathlib.Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


SIZES = {"NUM_ROUNDS, CHANNELS = 12, 16": "NUM_ROUNDS, CHANNELS = 2, 4"}
"""Of a line in each notebook, for the test."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    sized = [cell for cell in notebook.cells if any(size in cell.source for size in SIZES)]
    assert len(sized) == 1
    for size, small in SIZES.items():
        sized[0].source = sized[0].source.replace(size, small)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert not any(
        output.get("output_type") == "error"
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )


def test_there_are_notebooks():
    assert NOTEBOOKS
