"""Command lines drawn over all commands: one line where one is refused, and no file of others.

Every piece of the long form draws its own, always the same.
"""

import json
import os
import time
import warnings

import pytest

from fedjax_diffusion.cli.main import main
from fedjax_diffusion.data.image_cache import VARIABLE
from fedjax_diffusion.runs import evaluate
from tests.empty_figures import leave_figures_empty
from tests.reliability.drawn_lines import GOOD, PARSERS, Writes, draw_line
from tests.reliability.drawn_problems import PROBLEM
from tests.reliability.drawn_values import MAX_LINE, play
from tests.runs.test_evaluate import pixels_as_features

MAX_SECONDS = 60
CONFIG = """
from tests.tiny import pixel_config
def get_config():
    return pixel_config(
        num_rounds=1, compute__tune="guess", study__rounds=2,
        study__time_budgets_seconds=(20,), study__distances_meters=(100,),
        study__methods=("full_precision", "full_precision:max_frequency", "fixed_bits:8"),
        allocator__baselines=("full_precision", "full_precision:max_frequency"),
    )
"""
ENDS = {"run": {0, 1, 2}, "allocate": {0, 2, 3}, "verify": {0, 1, 2}}
"""Exit codes; of the other commands 0 and 2."""


def read_all(folder):
    """Returns the content of every file by relative path, None for a folder."""
    paths = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in paths
    }


def restore(folder, before):
    """Makes a folder again what it was."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if str(path.relative_to(folder)) not in before:
            path.rmdir() if path.is_dir() else path.unlink()
    for name, content in before.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        elif not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def check_line(line, capsys, folder, before, exit_codes):
    """Checks exit code, output and files of one command."""
    start = time.process_time()  # other work on the machine does not count
    with Writes() as written, warnings.catch_warnings():
        warnings.simplefilter("error")
        code = main(line)
    seconds, printed, after = time.process_time() - start, capsys.readouterr(), read_all(folder)
    restore(folder, before)
    assert seconds < MAX_SECONDS
    assert "Traceback" not in printed.out + printed.err
    caches = ("XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR", VARIABLE)
    own = (str(folder), "/dev/", *(os.environ[name] for name in caches))
    others = [p for p in written if not p.startswith(own) and "/__pycache__" not in p]
    assert others == []
    changed = {name for name in before if after.get(name, b"") != before[name]}
    assert {name.split("/")[0] for name in changed} <= {"run"}
    assert code in exit_codes
    if code == 2:
        assert printed.err.startswith("fedjax-diffusion: ")
        assert len(printed.err.splitlines()) == 1
        assert len(printed.err) < MAX_LINE
        assert after == before
    elif code == 0:
        assert printed.err == ""
    elif line[0] == "run":
        assert "step" in printed.err or "diverged" in printed.err


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The current folder, with a config, a run, a problem and its answer; and a user's cache."""
    folder = tmp_path_factory.mktemp("home") / "home"
    folder.mkdir()
    (folder / "mine.py").write_text(CONFIG)
    (folder / "problem.json").write_text(json.dumps(PROBLEM))
    (folder / "table.csv").write_text("min_bits\n2\n2\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder.with_name("user")))
        patch.setattr(evaluate, "make_extractor", lambda *_: pixels_as_features())  # trains none
        assert main(["run", "--config=mine.py", "--workdir=run"]) == 0
        assert main(["allocate", "--problem=problem.json", "--output=answer.json"]) == 0
        yield folder


@pytest.fixture(autouse=True)
def figures(request, monkeypatch):
    """Leaves figures empty; the long form draws them."""
    if request.node.get_closest_marker("slow") is None:
        leave_figures_empty(monkeypatch)


@pytest.fixture
def check(home, capsys):
    """Checks a line in that folder."""
    before = read_all(home)
    return lambda line, exit_codes: check_line(line, capsys, home, before, exit_codes)


def test_each_command_has_a_line_that_is_right(check, caplog):
    assert GOOD.keys() == PARSERS.keys()
    for command, line in GOOD.items():
        check([command, *line], {0})
    assert caplog.text == ""


def test_a_few_command_lines_end_with_one_line(check):
    play(16, draw_line(), lambda line: check(line, ENDS.get(line[0], {0, 2})))


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(1, 11))
def test_500_command_lines_end_with_one_line(piece, check):
    play(50, draw_line(), lambda line: check(line, ENDS.get(line[0], {0, 2})), piece)
