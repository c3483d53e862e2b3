"""Every notebook is made from its source, and runs from its first cell to its last."""

import ast
import importlib.util
import pathlib
import subprocess
import sys

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.util import run_sync

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
SIZES = {
    "01_quickstart": "NUM_ROUNDS, CHANNELS, NUM_RESOLUTIONS = 3, 8, 1\n"
    "NUM_CLIENTS, BATCH_SIZE, LOCAL_STEPS, SAMPLER_STEPS = 7, 16, 20, 5",
    "02_diffusion": "NUM_ROUNDS, NUM_CLIENTS, NUM_HIDDEN = 4, 5, 128",
    "03_quantization": "NUM_DRAWS, NUM_ENTRIES, NUM_CLIENTS = 64, 500, 7",
    "04_allocator": "NUM_CLIENTS, NUM_POINTS = 7, 5",
    "05_ablation": "NUM_ROUNDS, NUM_SEEDS, NUM_IMAGES, BIT_WIDTHS = 2, 2, 20, (1, 8)\n"
    "NUM_CLIENTS, NUM_RESOLUTIONS, BATCH_SIZE, LOCAL_STEPS = 7, 1, 16, 10",
    "06_your_own_model": "NUM_ROUNDS, NUM_CLIENTS, NUM_HIDDEN = 12, 7, 32",
}
"""The cell of each notebook's sizes, for the test; equal clients and batches share programs."""
START = f"""
import gc, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.xla_flags import share_context
share_context()
import fedjax_diffusion, matplotlib.pyplot
gc.set_threshold(50_000, 20, 20)
gc.freeze()
"""
"""Begins each notebook: its programs are lowered, and garbage is collected, as in other tests."""
DENSE = """
from matplotlib.figure import Figure
from fedjax_diffusion.runs import figure as figure_of_run
from tests.dense import load_dense as load_config
figure_of_run.make_figure = lambda _: Figure((1, 1))
"""
"""Ends that cell where a U-Net is trained: it would compile for longer than all else takes.

The notebooks show figures of their own; that of the run folder is left empty, as in other tests.
"""
OF_A_UNET = ("01_quickstart", "05_ablation")
"""Notebooks."""


def load_convert():
    """Returns notebooks/convert.py as a module."""
    spec = importlib.util.spec_from_file_location("convert", FOLDER / "convert.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


convert = load_convert()
SOURCES = convert.find_sources()
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def read_cells(source, kind):
    """Returns the cells of a kind, "code" or "markdown", as (tags, text)."""
    cells = convert.source_to_notebook(source.read_text())["cells"]
    return [
        (cell["metadata"].get("tags", []), "".join(cell["source"]))
        for cell in cells
        if cell["cell_type"] == kind
    ]


def read_targets(code):
    """Returns the assigned names of a cell that only assigns."""
    statements = ast.parse(code).body
    return [ast.unparse(target) for statement in statements for target in statement.targets]


def test_every_notebook_has_a_source_and_sizes():
    names = [path.stem for path in SOURCES]
    assert names == sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    assert names == sorted(SIZES)


@each_source
def test_notebook_is_the_one_of_its_source(source):
    """After a change: python notebooks/convert.py."""
    notebook = convert.source_to_notebook(source.read_text())
    assert source.with_suffix(".ipynb").read_text() == convert.to_text(notebook)


@each_source
def test_notebook_is_a_valid_one(source):
    nbformat.validate(nbformat.read(source.with_suffix(".ipynb"), as_version=4))


@each_source
def test_notebook_has_all_that_a_reader_of_colab_needs(source):
    """One install cell for all, the device, the minutes, one cell of sizes, asserts at the end."""
    texts = [text for _, text in read_cells(source, "markdown")]
    codes = [text for _, text in read_cells(source, "code")]
    assert texts[0].startswith("# ")
    assert "| CPU | T4 | TPU |" in texts[0]
    assert codes[0] == read_cells(SOURCES[0], "code")[0][1]
    assert "only-if-needed" in codes[0]
    assert "device_kind" in codes[1]
    assert sum("parameters" in tags for tags, _ in read_cells(source, "code")) == 1
    assert texts[-1].startswith("## What this notebook claims")
    assert "assert " in codes[-1]


def run_install_cell(monkeypatch, folder):
    """Returns the commands of the install cell in a folder, where the package is missing."""
    (_, code), *_ = read_cells(SOURCES[0], "code")
    commands = []
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        patch.setattr(subprocess, "run", lambda command, check: commands.append(command))
        exec(code, {})
    return commands


def test_install_cell_installs_the_clone_at_hand(monkeypatch, tmp_path):
    """Around the notebook, or next to it; without one it says what is missing."""
    with pytest.raises(FileNotFoundError, match="first git clone the repository"):
        run_install_cell(monkeypatch, tmp_path)
    (tmp_path / "clone").symlink_to(ROOT)
    for folder, clone in ((FOLDER, ROOT), (ROOT, ROOT), (tmp_path, tmp_path / "clone")):
        (command,) = run_install_cell(monkeypatch, folder)
        assert command[:3] == [sys.executable, "-m", "pip"]
        assert command[-1] == f"{clone}[notebooks]"


@each_source
def test_notebook_uses_public_names_only(source):
    imported = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    ours = [line for line in imported if "fedjax_diffusion" in line]
    assert ours
    assert all(line.startswith("from fedjax_diffusion import ") for line in ours)


@pytest.fixture(scope="module")
def kernel(compiled_so):
    """Returns what starts one process for all notebooks: it imports JAX once.

    It has one device, as a notebook has where people run it.
    """
    del compiled_so  # the process reads its environment
    manager = AsyncKernelManager()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_NUM_CPU_DEVICES", "1")
        yield manager
    run_sync(manager.shutdown_kernel)(now=True)


@each_source
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_notebook_runs(source, kernel, tmp_path):
    """At a small size, without the names of the one before; its asserts hold there too."""
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    (sizes,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert read_targets(sizes.source) == read_targets(SIZES[source.stem])
    sizes.source = SIZES[source.stem] + DENSE * (source.stem in OF_A_UNET)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {tmp_path}\n{START}"))
    client = NotebookClient(notebook, km=kernel, timeout=300)
    try:
        client.execute()  # raises the error of a cell
    finally:
        client.kc.stop_channels()


def test_source_must_begin_with_a_cell():
    with pytest.raises(ValueError, match="must begin with a cell"):
        convert.source_to_notebook("x = 1\n")


def test_source_becomes_cells_of_text_and_code():
    source = '# %% [markdown]\n# # Title\n#\n# Text\n\n# %% tags=["parameters"]\nN = 1\n'
    text, code = convert.source_to_notebook(source)["cells"]
    assert (text["cell_type"], "".join(text["source"])) == ("markdown", "# Title\n\nText")
    assert (code["cell_type"], "".join(code["source"])) == ("code", "N = 1")
    assert code["metadata"] == {"tags": ["parameters"]}
